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


GeneratorSettings = Annotated[
    DiffusionSettings | NoiseSettings | FolderSettings, Field(discriminator="kind")
]
MODELS = ("diffusion", "folder")
"""kinds that stand for a model; all others are references, which the tables show last"""


class SchedulerSettings(Section):
    """A row of tables 5 and 16 to 19: one model family under several schedulers (paper, 3.3)."""

    generator: str = Field(
        description="name of the generator; one of the row's own name is in no other table"
    )
