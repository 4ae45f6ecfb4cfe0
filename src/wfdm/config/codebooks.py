"""Settings of the compressors with a codebook."""

from typing import ClassVar, Literal

from pydantic import Field

from wfdm.config.base import Fraction, Positive, Section

PUBLISHED = "wfdm.models.compressors.published"  # reads published weights, unless a kind has more


class AldmQuantised(Section):
    """ALDM's VQ-GAN, as its authors published it (Kim and Park, 2024)."""

    implementation: ClassVar[str] = "wfdm.models.compressors.aldm:AldmVQGAN"
    published: ClassVar[str] = PUBLISHED
    kind: Literal["aldm-vqgan"]
    channels: tuple[Positive, ...] = Field(
        (128, 128, 256),
        description="of the released file, by its date; all levels but the last halve; the "
        "authors' configuration of 2025 has half as many",
    )
    res_blocks: Positive = Field(2, description="of the released file; 1 in that of 2025")
    codes: Positive = Field(8192, description="authors' configuration")
    code_channels: Positive = Field(3, description="of the released file; 4 in that of 2025")
    norm_groups: Positive = Field(32, description="authors' configuration")

    @property
    def factor(self) -> int:
        """f, by which each side of a latent is smaller than the volume's."""
        return 2 ** (len(self.channels) - 1)


class BrainSynthQuantised(Section):
    """BrainSynth's VQ-VAE, as its authors published it (Tudosiu et al., 2024)."""

    implementation: ClassVar[str] = "wfdm.models.compressors.brainsynth:BrainSynthVQVAE"
    published: ClassVar[str] = PUBLISHED
    kind: Literal["brainsynth-vqvae"]
    levels: Positive = Field(4, description="authors' experiments; a level halves, f = 16")
    channels: Positive = Field(
        256, multiple_of=2, description="authors' experiments; of the last level, others have half"
    )
    res_layers: Positive = Field(3, description="authors' experiments, each level")
    codes: Positive = Field(2048, description="authors' experiments")
    code_channels: Positive = Field(32, description="authors' experiments")
    decay: Fraction = Field(
        0.5, description="authors' experiments: of the moving average that moves the codes"
    )

    @property
    def factor(self) -> int:
        """f, by which each side of a latent is smaller than the volume's."""
        return 2**self.levels


class VectorQuantised(Section):
    """A VQ-VAE of your own: MONAI's, a codebook in the middle."""

    implementation: ClassVar[str] = "wfdm.models.compressors.vector_quantised:VQVAE"
    published: ClassVar[str] = PUBLISHED
    kind: Literal["vq-vae"]
    channels: tuple[Positive, ...] = Field((64, 128), description="our choice; a level halves")
    res_layers: Positive = Field(1, description="our choice, each level")
    codes: Positive = Field(8192, description="as ALDM's codebook")
    code_channels: Positive = Field(4, description="as ALDM's codebook of 2025")
    symmetric: bool = Field(
        True, description="volumes in [-1, 1] inside, as ALDM; outside they stay in [0, 1]"
    )

    @property
    def factor(self) -> int:
        """f, by which each side of a latent is smaller than the volume's."""
        return 2 ** len(self.channels)
