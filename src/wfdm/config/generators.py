"""Settings of the generators: the rows of table 4. None of them is trained, denoisers are."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from wfdm.config.base import Positive, Section, label_field


class DiffusionSettings(Section):
    """A trained denoiser with a sampler; another sampler or step count trains nothing."""

    implementation: ClassVar[str] = "wfdm.generators.latent_diffusion"
    kind: Literal["diffusion"]
    label: str = label_field("name in tables and figures")
    denoiser: str = Field(description="name of the denoiser")
    sampler: Literal["euler"] = Field(
        "euler", description="Euler's steps along the ODE (authors' code: MONAI's)"
    )
    steps: Positive = Field(50, description="paper, table 2")


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
    | NoiseSettings
    | FolderSettings
    | RealSettings
    | ReconstructionSettings
    | MeanSettings,
    Field(discriminator="kind"),
]
