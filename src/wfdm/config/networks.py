"""Settings of the published systems' networks, where a study trains them on its own data."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from wfdm.config.base import Positive, Section


class PublishedNetwork(Section):
    """What they share: levels of a U-Net, and what it is told beside the modality.

    Attributes:
        timesteps: T of the authors' process. The network is told t T - 1 of a time t in [0, 1]: the
            authors' steps, counted from 0.
    """

    implementation: ClassVar[str]
    timesteps: ClassVar[int]
    channels: tuple[Positive, ...]
    res_blocks: Positive = Field(2, description="authors' code, each level")
    norm_groups: Positive = Field(32, description="authors' code")
    metadata: list[str] = Field(
        [], description="metadata fields that it is told beside the modality; the authors tell none"
    )

    @model_validator(mode="after")
    def _widths_divide(self) -> "PublishedNetwork":
        for divisor, name in ((self.norm_groups, "norm_groups"), (self.channels[0], "channels")):
            if bad := [width for width in self.channels if width % divisor]:
                raise ValueError(f"{name}: {divisor} does not divide {bad[0]} channels")
        return self

    @property
    def divisor(self) -> int:
        """Number that each side of a latent must be a multiple of."""
        return 2 ** (len(self.channels) - 1)

    @property
    def conditioning(self) -> str:
        """What it is told, in the words of table 2."""
        return ", ".join(["Modality", *self.metadata])


class WdmNetwork(PublishedNetwork):
    """WDM's U-Net; the conditions join the embedded time, as its code's class label would."""

    implementation: ClassVar[str] = "wfdm.baselines.wdm_denoiser:WdmDenoiser"
    timesteps: ClassVar[int] = 1000
    kind: Literal["wdm"]
    channels: tuple[Positive, ...] = Field(
        (64, 128, 128, 256, 256), min_length=1, description="authors' code, each level"
    )


class MedDdpmNetwork(PublishedNetwork):
    """Med-DDPM's U-Net; the conditions are constant planes in the place of its mask."""

    implementation: ClassVar[str] = "wfdm.baselines.med_ddpm_denoiser:MedDdpmDenoiser"
    timesteps: ClassVar[int] = 250
    kind: Literal["med-ddpm"]
    channels: tuple[Positive, ...] = Field(
        (64, 64, 128, 192, 256), min_length=1, description="authors' code, each level"
    )


class LdmNetwork(PublishedNetwork):
    """LDM's U-Net; the conditions are constant planes and the context of its attention."""

    implementation: ClassVar[str] = "wfdm.baselines.ldm_denoiser:LdmDenoiser"
    timesteps: ClassVar[int] = 1000
    kind: Literal["ldm"]
    channels: tuple[Positive, ...] = Field(
        (256, 512, 768), min_length=2, description="authors' code, each level"
    )
    metadata: list[str] = Field(
        ["sex", "age"],
        description="metadata fields that it is told beside the modality; the authors': sex and "
        "age, and two volumes that no metadata tells",
    )
