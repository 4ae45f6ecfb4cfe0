"""Settings of stage A: architectures, losses, training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wfdm.config.base import Positive, Rate, Section, Size
from wfdm.config.features import FeatureNetwork


class WaveletFusion(Section):
    """WF-VAE and, with attention, WF-SA-VAE (paper, 2.5.1-2.5.2)."""

    kind: Literal["wavelet-fusion"]
    channels: tuple[Positive, Positive] = Field((128, 256), description="authors' code")
    wavelet_channels: Positive = Field(64, description="authors' code")
    latent_channels: Positive = Field(4, description="paper, 2.5.1")
    attention: bool = Field(False, description="self-attention in the bottleneck: WF-SA-VAE")
    norm_groups: Positive = Field(32, description="authors' code")
    haar: Literal["exact", "rounded"] = Field(
        "exact", description="filter entries 1/sqrt(8), or 0.3536 as in the authors' weights"
    )


class HaarTransform(Section):
    """The fixed wavelet references of table 3: nothing is trained."""

    kind: Literal["haar"]
    levels: Literal[1, 2] = Field(description="1: the transform of WDM; 2: a quarter per side")
    haar: Literal["exact", "rounded"] = Field("exact", description="as in wavelet-fusion")


Architecture = Annotated[WaveletFusion | HaarTransform, Field(discriminator="kind")]


class PerceptualSettings(Section):
    """The feature reconstruction loss of stage A."""

    network: FeatureNetwork | None = Field(
        FeatureNetwork(depth=10, weights="medicalnet-resnet10"),
        description="the paper names no network; 3D features see 3D structure; null: no term",
    )
    stages: Literal[1, 2, 3, 4] = Field(
        4, description="first stages of the network that count; our choice: all"
    )
    weight: float = Field(0.3, ge=0, description="authors' tests")
    warmup_steps: int = Field(0, ge=0, description="steps without the term; the authors use none")


class AdversarialSettings(Section):
    """The patch discriminator of stage A."""

    weight: float = Field(0.1, ge=0, description="authors' tests; 0 trains no discriminator")
    channels: Positive = Field(32, description="first layer of MONAI's PatchDiscriminator; MAISI")
    layers: Positive = Field(3, description="MAISI's recipe")
    learning_rate: Rate = Field(1e-4, description="as the compressor's")
    warmup_steps: int = Field(0, ge=0, description="steps without the term; the authors use none")


class CompressorTraining(Section):
    """Stage A (paper, 2.5.6)."""

    steps: Positive = Field(500_000, description="our choice: 28 passes over 35,912 scans")
    batch_size: Positive = Field(2, description="our choice: fits 80 GB at this crop")
    crop: Size = Field((128, 128, 128), description="our choice: MAISI's second training phase")
    learning_rate: Rate = Field(1e-4, description="our choice: MAISI's rate")
    warmup_steps: int = Field(1000, ge=0, description="our choice: linear, then cosine to zero")
    gradient_clip: Rate = Field(1.0, description="our choice: norm; keeps a bad batch harmless")
    kl_weight: float = Field(1.6e-7, ge=0, description="authors' tests; sums over the latent")
    perceptual: PerceptualSettings = PerceptualSettings()
    adversarial: AdversarialSettings = AdversarialSettings()
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "bf16-mixed", description="our choice: float range without loss scaling"
    )
    validate_every: Positive = Field(5000, description="steps; also when the state is kept")
    validation_scans: Positive = Field(256, description="first by seed, the same every time")
    threads: Positive = Field(8, description="of the CPU; there, results depend on their number")


class CompressorSettings(Section):
    """One row of table 3."""

    label: str = Field(description="name in tables and figures, as in the paper")
    architecture: Architecture
    training: CompressorTraining | None = Field(
        None, description="null where nothing is trained (wavelet references)"
    )

    @model_validator(mode="after")
    def _trained_or_fixed(self) -> "CompressorSettings":
        fixed = isinstance(self.architecture, HaarTransform)
        if fixed != (self.training is None):
            raise ValueError(
                "training must be null for kind 'haar' and given for every learned compressor"
            )
        return self
