"""Settings of stage A: architectures, losses, training.

Every architecture names the class that implements it, as "module:class", so that planning needs
no torch and a stage's code fingerprint holds only the architectures it uses.
"""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from wfdm.config.base import (
    NO_NUMBERS,
    Fraction,
    Positive,
    Rate,
    Section,
    Size,
    label_field,
)
from wfdm.config.codebooks import (
    PUBLISHED,
    AldmQuantised,
    BrainSynthQuantised,
    VectorQuantised,
)
from wfdm.config.features import FeatureSettings, LpipsSettings
from wfdm.config.training import (
    CpuThreads,
    GradientClip,
    Precision,
    StartFrom,
    ValidateEvery,
)
from wfdm.errors import UserError

ALLOWED = "WFDM_ALLOW"
"""environment variable: modules, separated by commas, that a compressor's folder may name"""
Haar = Literal["exact", "rounded"]


class WaveletFusion(Section):
    """WF-VAE and, with attention, WF-SA-VAE (paper, 2.5.1-2.5.2)."""

    implementation: ClassVar[str] = "wfdm.models.compressors.wavelet_fusion:WaveletFusionVAE"
    published: ClassVar[str] = "wfdm.models.compressors.brainmint"
    kind: Literal["wavelet-fusion"]
    channels: tuple[Positive, Positive] = Field((128, 256), description="authors' code")
    wavelet_channels: Positive = Field(64, description="authors' code")
    latent_channels: Positive = Field(4, description="paper, 2.5.1")
    attention: bool = Field(
        False, description="self-attention in the bottleneck; with it, WF-SA-VAE"
    )
    norm_groups: Positive = Field(32, description="authors' code")
    haar: Haar = Field(
        "exact", description="filter entries 1/sqrt(8), or 0.3536 as in the authors' weights"
    )

    @property
    def factor(self) -> int:
        """f, by which each side of a latent is smaller than the volume's."""
        return 4


class WaveletAutoencoder(Section):
    """Wavelet VAE: both wavelet stages first, then a small autoencoder (paper, 3.1)."""

    implementation: ClassVar[str] = "wfdm.models.compressors.wavelet_vae:WaveletVAE"
    published: ClassVar[str] = PUBLISHED
    kind: Literal["wavelet-vae"]
    channels: Positive = Field(256, description="authors' code, in a comment; its default is 128")
    res_blocks: Positive = Field(2, description="authors' code, in each half")
    latent_channels: Positive = Field(4, description="paper, table 3")
    attention: bool = Field(
        False, description="our choice: as WF-VAE, whose ablation it is; the authors' default is on"
    )
    norm_groups: Positive = Field(32, description="authors' code")
    haar: Haar = Field("exact", description="as in wavelet-fusion")

    @property
    def factor(self) -> int:
        """f, by which each side of a latent is smaller than the volume's."""
        return 4


class MaisiAutoencoder(Section):
    """VAE-GAN baseline and MAISI VAE-GAN: MONAI's AutoencoderKlMaisi (Guo et al., 2025)."""

    implementation: ClassVar[str] = "wfdm.models.compressors.monai_vae:MaisiVAE"
    published: ClassVar[str] = PUBLISHED
    kind: Literal["maisi"]
    channels: tuple[Positive, ...] = Field((64, 128, 256), description="MAISI's; a level halves")
    res_blocks: Positive = Field(2, description="MAISI's, each level")
    latent_channels: Positive = Field(4, description="paper, table 3; MAISI's")
    norm_groups: Positive = Field(32, description="MAISI's")
    splits: Positive = Field(
        1, description="parts a volume is cut into to save memory, same result; MAISI uses 4"
    )

    @property
    def factor(self) -> int:
        """f, by which each side of a latent is smaller than the volume's."""
        return 2 ** (len(self.channels) - 1)


class KLAutoencoder(Section):
    """LDM-VAE: MONAI's AutoencoderKL (Pinaya et al., 2022)."""

    implementation: ClassVar[str] = "wfdm.models.compressors.monai_vae:LdmVAE"
    published: ClassVar[str] = PUBLISHED
    kind: Literal["autoencoder-kl"]
    channels: tuple[Positive, ...] = Field(
        (64, 128, 128, 128), description="its published configuration; f = 8"
    )
    res_blocks: Positive = Field(2, description="its published configuration, each level")
    latent_channels: Positive = Field(3, description="its published configuration; table 3")
    norm_groups: Positive = Field(32, description="its published configuration")

    @property
    def factor(self) -> int:
        """f, by which each side of a latent is smaller than the volume's."""
        return 2 ** (len(self.channels) - 1)


class HaarTransform(Section):
    """The fixed wavelet references of table 3: nothing is trained."""

    implementation: ClassVar[str] = "wfdm.models.compressors.haar_transform:HaarCompressor"
    published: ClassVar[str] = PUBLISHED
    kind: Literal["haar"]
    levels: Literal[1, 2] = Field(description="1: the transform of WDM; 2: a quarter per side")
    haar: Haar = Field("exact", description="as in wavelet-fusion")

    @property
    def factor(self) -> int:
        """f, by which each side of a latent is smaller than the volume's."""
        return 2**self.levels


class Voxels(Section):
    """The volume itself, in [-1, 1]: for a denoiser of voxels. Nothing is trained."""

    implementation: ClassVar[str] = "wfdm.models.compressors.uncompressed:Voxels"
    published: ClassVar[str] = PUBLISHED
    domain: ClassVar[str] = "Pixel"
    factor: ClassVar[int] = 1
    kind: Literal["voxels"]


class Subbands(Section):
    """WDM's Haar subbands of the volume in [-1, 1]. Nothing is trained."""

    implementation: ClassVar[str] = "wfdm.models.compressors.uncompressed:Subbands"
    published: ClassVar[str] = PUBLISHED
    domain: ClassVar[str] = "DWT coefficient space"
    factor: ClassVar[int] = 2
    kind: Literal["subbands"]


class Custom(Section):
    """A compressor of your own: any importable subclass of `wfdm.models.Compressor`."""

    published: ClassVar[str] = PUBLISHED
    kind: Literal["custom"]
    implementation: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:class, importable"
    )
    options: dict[str, Any] = Field({}, description="keyword arguments of the class")

    @property
    def factor(self) -> int:
        """1: what the class divides by is known when it is imported, not before."""
        return 1


Architecture = Annotated[
    WaveletFusion
    | WaveletAutoencoder
    | MaisiAutoencoder
    | KLAutoencoder
    | AldmQuantised
    | BrainSynthQuantised
    | VectorQuantised
    | HaarTransform
    | Voxels
    | Subbands
    | Custom,
    Field(discriminator="kind"),
]
FIXED = (HaarTransform, Voxels, Subbands)
"""architectures without weights"""


def implementations(architecture: Architecture, pretrained: str | None) -> list[str]:
    """Return the modules that making a compressor imports by name, for its code fingerprint."""
    return [architecture.implementation, *([architecture.published] if pretrained else [])]


def read_architecture(folder: Path) -> Architecture:
    """Return the architecture of the compressor kept in `folder`.

    Raises:
        UserError: config.json is missing or damaged, or names code that is not allowed.
    """
    config = folder / "config.json"
    try:
        architecture = TypeAdapter(Architecture).validate_json(config.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{config} is missing; train the compressor first") from None
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise UserError(f"{config} does not describe a compressor: {problem}") from None
    _refuse_foreign_code(architecture.implementation, config)
    return architecture


def _refuse_foreign_code(implementation: str, config: Path) -> None:
    """Refuse a module that is not ours, unless the user allows it: a folder may be a download.

    To import a module runs it. A study's own configuration allows what it names: the workflow sets
    the variable for its jobs.
    """
    module = implementation.partition(":")[0]
    allowed = os.environ.get(ALLOWED, "").split(",")
    if module.partition(".")[0] != "wfdm" and module not in allowed:
        raise UserError(
            f"{config} names code that is not part of wfdm, '{implementation}': if you know it and "
            f"trust it, set {ALLOWED}={module} and run again"
        )


class PerceptualSettings(Section):
    """The feature reconstruction loss of stage A."""

    network: FeatureSettings | None = Field(
        FeatureSettings(depth=10, weights="medicalnet-resnet10").because(
            depth="our choice: the smallest MedicalNet, for it runs in every step",
            weights="asset with the weights of that depth; null declares a random stand-in",
        ),
        description="the paper names no network; 3D features see 3D structure; null: no term",
    )
    stages: Literal[1, 2, 3, 4] = Field(
        4, description="first stages of that network that count; our choice: all"
    )
    lpips: LpipsSettings | None = Field(
        None, description="slices in LPIPS instead; network is then null"
    )
    weight: float = Field(0.3, ge=0, description="authors' tests")
    warmup_steps: int = Field(0, ge=0, description="steps without the term; the authors use none")

    @model_validator(mode="after")
    def _one_network(self) -> "PerceptualSettings":
        if self.network and self.lpips:
            raise ValueError("give either network or lpips; the other must be null")
        return self

    @property
    def assets(self) -> list[str]:
        """The assets that the term needs, in the order of its weights."""
        chosen = self.network or self.lpips
        return chosen.assets if chosen else []


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
    batch_size: Positive = Field(
        2, description="our choice; with this crop 10.7 GB of GPU memory (H100)"
    )
    crop: Size = Field((128, 128, 128), description="our choice: MAISI's second training phase")
    learning_rate: Rate = Field(1e-4, description="our choice: MAISI's rate")
    warmup_steps: int = Field(1000, ge=0, description="our choice: linear, then cosine to zero")
    gradient_clip: GradientClip = 1.0
    kl_weight: float = Field(1.6e-7, ge=0, description="authors' tests; sums over the latent")
    commitment_weight: float = Field(
        1.0, ge=0, description="codebook term of the VQ kinds; taming-transformers' weight"
    )
    perceptual: PerceptualSettings = PerceptualSettings()
    adversarial: AdversarialSettings = AdversarialSettings()
    precision: Precision = "bf16-mixed"
    checkpointing: bool = Field(
        False,
        description="recompute blocks in the backward pass: a third of the memory, a fifth more "
        "time (H100)",
        json_schema_extra=NO_NUMBERS,
    )
    ema_decay: Fraction | None = Field(
        None, description="moving average of the weights, then judged and kept; the authors: none"
    )
    start_from: StartFrom = None
    validate_every: ValidateEvery = 5000
    validation_scans: Positive = Field(
        256, description="our choice; first by seed, the same every time"
    )
    threads: CpuThreads = 8


class CompressorSettings(Section):
    """One row of table 3."""

    label: str = label_field("name in tables and figures")
    architecture: Architecture
    training: CompressorTraining | None = Field(
        None,
        description="keys that differ from compressor_training; null where nothing is trained here",
    )
    pretrained: str | None = Field(
        None, description="asset with published weights, where nothing is trained"
    )

    @property
    def implementations(self) -> list[str]:
        """The modules that are imported by name to make it, for its code fingerprint."""
        return implementations(self.architecture, self.pretrained)

    @model_validator(mode="after")
    def _one_origin(self) -> "CompressorSettings":
        given = [name for name in ("training", "pretrained") if getattr(self, name) is not None]
        fixed = isinstance(self.architecture, FIXED)
        if fixed and given:
            kind = self.architecture.kind
            raise ValueError(f"kind '{kind}' has no weights: {given[0]} must be null")
        if len(given) > 1 or not (given or fixed or isinstance(self.architecture, Custom)):
            raise ValueError("a learned compressor has either training or pretrained weights")
        return self
