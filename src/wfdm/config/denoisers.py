"""Settings of stage B: the networks that are trained, and the process that they are trained for."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from wfdm.config.base import Fraction, Positive, Section
from wfdm.config.networks import LdmNetwork, MedDdpmNetwork, WdmNetwork
from wfdm.config.training import AveragedTraining, StartFrom

LatentKind = Literal["scale", "per-channel", "centred", "standardised", "unscaled"]


class UNetSettings(Section):
    """The conditional 3D U-Net (paper, 2.5.4-2.5.5)."""

    implementation: ClassVar[str] = "wfdm.models.denoisers.unet:Denoiser"
    kind: Literal["unet"] = "unet"
    channels: tuple[Positive, ...] = Field(
        (64, 128, 256, 512), description="MAISI's, which the authors' four-level tests match"
    )
    attention: tuple[bool, ...] = Field(
        (False, False, True, True), description="levels with self-attention; MAISI's"
    )
    head_channels: Positive = Field(32, description="channels of one attention head; MAISI's")
    res_blocks: Positive = Field(2, description="authors' code, each level")
    patch: Positive = Field(
        1,
        description="our choice: cubes of so many voxels a side are folded into channels, which "
        "spares a CPU the thin layers at full size; 1, as the authors': none are",
    )
    maps: list[str] = Field(
        [],
        description="our choice: metadata fields with learned maps of the latent, one for each "
        "contrast and number or category, weighed by its value and added to the answer; without "
        "them a convolution learns only slowly where in a head age matters; as published: none",
    )
    norm_groups: Positive = Field(32, description="authors' code")
    metadata_width: Positive = Field(
        256, description="our choice: width of e_meta, the modality embedding's of MAISI"
    )

    @model_validator(mode="after")
    def _sizes_agree(self) -> "UNetSettings":
        if len(self.channels) != len(self.attention):
            raise ValueError("channels and attention must have one entry per level")
        for name, used in (("norm_groups", self.channels), ("head_channels", self.attended)):
            divisor = getattr(self, name)
            if bad := [width for width in used if width % divisor]:
                raise ValueError(f"{name}: {divisor} does not divide {bad[0]} channels")
        return self

    @property
    def attended(self) -> list[int]:
        """Channels of every self-attention: the chosen levels, and always the middle."""
        pairs = zip(self.channels, self.attention, strict=True)
        return [width for width, attention in pairs if attention] + [self.channels[-1]]

    @property
    def divisor(self) -> int:
        """Number that each side of a latent must be a multiple of."""
        return self.patch * 2 ** (len(self.channels) - 1)

    @property
    def conditioning(self) -> str:
        """What it is told, in the words of table 2."""
        return "Modality + metadata"


NetworkSettings = Annotated[
    UNetSettings | WdmNetwork | MedDdpmNetwork | LdmNetwork, Field(discriminator="kind")
]


class RectifiedFlowSettings(Section):
    """The paper's final process: straight paths, velocity target (paper, 3.3)."""

    implementation: ClassVar[str] = "wfdm.processes.rflow"
    kind: Literal["rflow"] = "rflow"
    reference_voxels: Positive = Field(
        32768, description="latent voxels with no time shift (authors' code: 32**3)"
    )
    linear_answer: bool = Field(
        True,
        description="our choice: the network learns what the best linear answer to unit-variance "
        "data leaves; false: all of the velocity, as the authors' does",
    )


class DiscreteDiffusionSettings(Section):
    """DDPM: `timesteps` steps from data to noise (paper, 2.5.4, appendix; the rows of table 5)."""

    implementation: ClassVar[str] = "wfdm.processes.ddpm"
    kind: Literal["ddpm"]
    schedule: Literal["cosine", "scaled-linear", "linear"] = Field(
        "cosine",
        description="how fast noise comes in; paper, table 5: the better of its two; linear: WDM's",
    )
    prediction: Literal["v", "epsilon", "x0"] = Field(
        "v",
        description="paper, table 5: v; its 2.5.4 says epsilon, which under cosine magnifies an "
        "error at pure noise 60000-fold; x0, the data: WDM's",
    )
    timesteps: Positive = Field(1000, description="paper, table 5: its ancestral steps")
    beta_first: Fraction = Field(
        0.0005, description="of both linear ones: MONAI's 3D tutorial's; MAISI takes 0.0015"
    )
    beta_last: Fraction = Field(
        0.0195, description="of both linear ones: MONAI's 3D tutorial's, and MAISI's"
    )

    @model_validator(mode="after")
    def _noise_grows(self) -> "DiscreteDiffusionSettings":
        if not 0 < self.beta_first <= self.beta_last < 1:
            raise ValueError(
                f"beta_first: {self.beta_first} and beta_last: {self.beta_last} must lie between "
                "0 and 1, the first no larger than the last"
            )
        return self


ProcessSettings = Annotated[
    RectifiedFlowSettings | DiscreteDiffusionSettings, Field(discriminator="kind")
]


class DenoiserTraining(AveragedTraining):
    """Stage B (paper, 2.5.6)."""

    loss: Literal["l1", "l2"] = Field("l2", description="paper, table 5: the final model")
    conditioning_dropout: Fraction = Field(
        0.0,
        description='share of items whose metadata is hidden (all of it "not recorded"; the '
        "modality stays), which guidance needs; paper: 0, off",
    )
    start_from: StartFrom = None
    copies: dict[Positive, Positive] = Field(
        {},
        exclude_if=lambda copies: not copies,  # of a study without them nothing trains anew
        description="duplicates planted for the audit of memorisation to find: scans by copies; "
        "{8: 3, 4: 2} has three training scans stand there 8 times and two 4 times, drawn by the "
        "seed (docs/memorisation.md); paper: none",
    )


class DenoiserSettings(Section):
    """One trained denoiser: whose latents, which network, which process, how trained."""

    compressor: str = Field(description="name of the compressor whose latents it models")
    otherwise: str | None = Field(
        None,
        description="compressor instead, while the published weights of the first are not placed; "
        "null: the study stops",
    )
    latents: LatentKind = Field(
        "scale",
        description="authors' code: scaled alone; per-channel: to mean 0 and deviation 1; centred: "
        "less the training mean of the modality, to deviation 1; standardised: so at every voxel; "
        "unscaled: as the compressor gives them",
    )
    posterior: Literal["mean", "sample"] = Field(
        "mean", description="authors' code; sample: drawn anew at every training step"
    )
    network: NetworkSettings = UNetSettings()
    process: ProcessSettings = Field(
        RectifiedFlowSettings(),
        description="between data and noise; a process of another kind belongs in a row of its own",
    )
    training: DenoiserTraining = DenoiserTraining()

    @model_validator(mode="before")
    @classmethod
    def _ours_unless_told(cls, given: Any) -> Any:
        """Take a network of no kind for the study's own."""
        if isinstance(given, dict) and isinstance(given.get("network"), dict):
            return given | {"network": {"kind": "unet"} | given["network"]}
        return given
