"""Settings of the generators: the rows of table 4. None is trained: denoisers and GANs are."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from wfdm.config import baselines, latent_baselines
from wfdm.config.base import NO_NUMBERS, Fraction, Positive, Section, label_field
from wfdm.config.denoisers import ProcessSettings

SAMPLERS = {
    "euler": ("rflow",),
    "heun": ("rflow",),
    "ancestral": ("ddpm",),
    "ddim": ("ddpm",),
    "dpm-solver++": ("rflow", "ddpm"),
}
"""the processes that each sampler fits"""
Guidance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class InferenceSettings(Section):
    """How fast a GPU may work; a lever that gives other answers than float32 there is refused."""

    arithmetic: Literal["float32", "tf32", "bf16"] = Field(
        "tf32",
        description="tf32: products and convolutions round to it on a GPU, as torch's convolutions "
        "do by default; bf16: weights and activations; float32: neither",
    )
    channels_last: bool = Field(
        False, description="our choice: channels beside each other in memory; faster with bf16"
    )
    compile: bool = Field(
        False, description="our choice: torch.compile; minutes at first, needs a C++ compiler"
    )
    graphs: bool = Field(
        False,
        description="our choice: CUDA graphs, on a GPU alone: a step's kernels are launched as one",
    )

    def levers(self, device: str) -> list[str]:
        """Return what of this makes a difference on a device, "cuda" or "cpu"."""
        rounded = self.arithmetic == "bf16" or (self.arithmetic == "tf32" and device == "cuda")
        given = {
            f"arithmetic: {self.arithmetic}": rounded,
            "channels_last": self.channels_last,
            "compile": self.compile,
            "graphs": self.graphs and device == "cuda",
        }
        return [lever for lever, used in given.items() if used]

    def alone(self, lever: str) -> "InferenceSettings":
        """Return settings with one of the `levers` and no other."""
        name, _, value = lever.partition(": ")
        return InferenceSettings.model_validate({"arithmetic": "float32", name: value or True})


Sampler = Literal["euler", "heun", "ancestral", "ddim", "dpm-solver++"]


class TrajectorySettings(Section):
    """By which steps noise becomes a sample."""

    sampler: Sampler = Field(
        "euler",
        description="euler (authors' code: MONAI's), heun or dpm-solver++ for rflow; ancestral, "
        "ddim or dpm-solver++ for ddpm",
    )
    steps: Positive = Field(50, description="paper, table 2; table 5 has 1000 of ancestral")
    eta: Fraction = Field(
        0.0, description="of ddim: 0 adds no noise on the way, 1 as much as ancestral; DDIM's own"
    )

    @property
    def exact(self) -> "SamplerSettings":
        """The sampler of these in float32, without guidance and without a lever."""
        own = self.model_dump(include=set(TrajectorySettings.model_fields))
        return SamplerSettings(**own, inference=InferenceSettings(arithmetic="float32"))


class SamplerSettings(TrajectorySettings):
    """How noise becomes a sample; no value of these trains anything."""

    guidance: Guidance = Field(
        1.0, description="how far from the answer without metadata to the one with; paper: 1, off"
    )
    clamp: bool = Field(
        False,
        description="keep the volume that each step predicts in [0, 1], as WDM and Med-DDPM do; "
        "for a compressor without weights",
    )
    batch: Positive = Field(
        8,
        description="our choice: samples side by side on a GPU; on a CPU no bit depends on it",
        json_schema_extra=NO_NUMBERS,
    )
    inference: InferenceSettings = InferenceSettings()

    @property
    def passes(self) -> int:
        """How often a sample asks the network."""
        each = 2 if self.sampler == "heun" else 1
        return self.steps * each * (1 if self.guidance == 1 else 2)

    def misfit(self, process: ProcessSettings, conditioning_dropout: float) -> str | None:
        """Return why a denoiser cannot be sampled so, in one line; None where it can.

        Args:
            process: that the denoiser was trained for.
            conditioning_dropout: with which it was trained.
        """
        if process.kind not in SAMPLERS[self.sampler]:
            fitting = ", ".join(name for name, kinds in SAMPLERS.items() if process.kind in kinds)
            return (
                f"sampler: {self.sampler} does not fit the process {process.kind} of the denoiser; "
                f"there is {fitting}"
            )
        if process.kind == "ddpm" and self.steps > process.timesteps:
            return f"steps: {self.steps} are more than the {process.timesteps} of the process"
        if self.eta and self.sampler != "ddim":
            return f"eta: {self.eta:g} is of ddim alone, and the sampler is {self.sampler}"
        if self.clamp and self.sampler in ("euler", "heun"):
            return f"clamp: {self.sampler} follows a velocity and predicts no data to be clamped"
        if self.guidance != 1 and not conditioning_dropout:
            return (
                f"guidance: {self.guidance:g} needs a denoiser that was trained with "
                "conditioning_dropout above 0"
            )
        return None


class DiffusionSettings(SamplerSettings):
    """A trained denoiser with a sampler; another sampler or step count trains nothing."""

    implementation: ClassVar[str] = "wfdm.generators.latent_diffusion"
    kind: Literal["diffusion"]
    label: str = label_field("name in tables and figures")
    denoiser: str = Field(description="name of the denoiser")
    draw: Positive = Field(
        1,
        description="our choice: rows of one denoiser and draw start from the same noises, so that "
        "they differ by their sampler alone; another number: from others",
    )


class TrainedGanSettings(Section):
    """A GAN of the study's `gans`: one pass, told the modality."""

    implementation: ClassVar[str] = "wfdm.baselines.hagan_here"
    table2: ClassVar[dict[str, str]] = {
        "Conditioning": "Modality",
        "Synthesis domain": "Pixel",
        "Scheduler": "N/A (GAN)",
        "Steps": "N/A",
    }
    kind: Literal["gan"]
    label: str = label_field("name in tables and figures")
    gan: str = Field(description="name of the GAN")


class NoiseSettings(Section):
    """The floor of table 4: unit noise, decoded. A trained generator must beat it."""

    implementation: ClassVar[str] = "wfdm.generators.decoded_noise"
    kind: Literal["noise"]
    label: str = label_field("name in tables and figures")
    compressor: str = Field(description="name of the compressor that decodes the noise")


class FolderSettings(Section):
    """Finished volumes that another program made: a table lists them."""

    implementation: ClassVar[str] = "wfdm.generators.folder"
    kind: Literal["folder"]
    label: str = label_field("name in tables and figures")
    table: str = Field(description="TSV with the columns modality and path, one row per volume")


class RealSettings(Section):
    """Training scans, drawn by the seed, as many as there are test scans: the best there is."""

    implementation: ClassVar[str] = "wfdm.generators.references"
    kind: Literal["real"]
    label: str = label_field("name in tables and figures")


class ReconstructionSettings(Section):
    """The test scans through a compressor: what its decoder costs, before any denoiser."""

    implementation: ClassVar[str] = "wfdm.generators.references"
    kind: Literal["reconstruction"]
    label: str = label_field("name in tables and figures")
    compressor: str = Field(description="name of the compressor")


class MeanSettings(Section):
    """The mean training volume of the modality, for every test scan: a floor for distances."""

    implementation: ClassVar[str] = "wfdm.generators.references"
    kind: Literal["mean"]
    label: str = label_field("name in tables and figures")


GeneratorSettings = Annotated[
    DiffusionSettings
    | TrainedGanSettings
    | NoiseSettings
    | FolderSettings
    | RealSettings
    | ReconstructionSettings
    | MeanSettings
    | baselines.PublishedSettings
    | latent_baselines.LatentSettings,
    Field(discriminator="kind"),
]
MODELS = ("diffusion", "gan", "folder", *baselines.kinds(), *latent_baselines.KINDS)
"""kinds that stand for a model; all others are references, which the tables show last"""


class SchedulerSettings(Section):
    """A row of tables 5 and 16 to 19: one model family under several schedulers (paper, 3.3)."""

    generator: str = Field(
        description="name of the generator; one of the row's own name is in no other table"
    )
