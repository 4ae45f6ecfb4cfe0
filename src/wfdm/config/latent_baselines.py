"""Settings of the published systems that work in latents: a second file, the autoencoder's."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from wfdm.config.base import Fraction
from wfdm.config.baselines import PLACE, PublishedSystem
from wfdm.config.cohort import Modality


class LatentSystem(PublishedSystem):
    """A published system with an autoencoder."""

    autoencoder: str

    @property
    def assets(self) -> list[str]:
        """All files of weights that it needs: the denoiser's, the autoencoder's."""
        return [self.weights, self.autoencoder]


class LdmSettings(LatentSystem):
    """LDM with its authors' weights: whole heads, T1w, told sex and age."""

    implementation: ClassVar[str] = "wfdm.baselines.ldm"
    modalities: ClassVar[tuple[Modality, ...]] = ("T1w",)
    table2: ClassVar[dict[str, str]] = {
        "Conditioning": "Sex, age",
        "Synthesis domain": "Latent (LDM-VAE)",
        "Scheduler": "DDIM",
        "Training source": "UK Biobank (pretrained)",
    }
    citation: ClassVar[str] = "Pinaya et al. 2022, MICCAI workshop DGM4MICCAI, arXiv 2209.07162"
    licence: ClassVar[str] = "Apache-2.0 (MONAI GenerativeModels); none for the weights alone"
    kind: Literal["ldm"]
    weights: str = Field("ldm-unet", description=f"asset: its authors' denoiser; {PLACE}")
    autoencoder: str = Field("ldm-vae", description=f"asset: its authors' autoencoder; {PLACE}")
    steps: Annotated[int, Field(ge=1, le=1000)] = Field(50, description="authors' code; paper")
    ages: tuple[float, float] = Field(
        (44, 82),
        description="years that are told as 0 and 1, others as the nearer one: UK Biobank's; our "
        "choice, for the authors' scaling is not in their files",
    )
    sex: Fraction = Field(
        0.0, description="told where it is not recorded (authors' code); female is 0, male 1"
    )
    age: Fraction = Field(0.1, description="told where it is not recorded (authors' code)")
    ventricles: Fraction = Field(
        0.2, description="volume of the ventricles, which no metadata tells (authors' code)"
    )
    brain: Fraction = Field(
        0.4, description="volume of the brain, which no metadata tells (authors' code)"
    )

    @model_validator(mode="after")
    def _older_last(self) -> "LdmSettings":
        if not 0 <= self.ages[0] < self.ages[1]:
            raise ValueError(f"ages: {self.ages} must be two ages in years, the younger first")
        return self


class MaisiBrainSettings(LatentSystem):
    """MAISI's rectified flow with its authors' MR-Brain weights; no row of the paper's."""

    implementation: ClassVar[str] = "wfdm.baselines.maisi"
    modalities: ClassVar[tuple[Modality, ...]] = ("T1w", "T2w", "FLAIR")
    table2: ClassVar[dict[str, str]] = {
        "Conditioning": "Modality",
        "Synthesis domain": "Latent (MAISI VAE-GAN)",
        "Scheduler": "RFlow",
        "Training source": "NV-Generate-MR-Brain (pretrained)",
    }
    citation: ClassVar[str] = "Guo et al. 2025, WACV, arXiv 2409.11169 (NV-Generate-MR-Brain)"
    licence: ClassVar[str] = "NVIDIA Open Model License (weights); Apache-2.0 (code)"
    kind: Literal["maisi-mr-brain"]
    weights: str = Field("maisi-mr-brain", description=f"asset: its authors' denoiser; {PLACE}")
    autoencoder: str = Field(
        "maisi-autoencoder-v1", description=f"asset: its authors' autoencoder; {PLACE}"
    )
    steps: Annotated[int, Field(ge=1, le=1000)] = Field(30, description="authors' configuration")
    guidance: float = Field(
        2.0,
        ge=0,
        allow_inf_nan=False,
        description="authors' configuration: how far from the answer without modality to the one "
        "with; 1: as it is",
    )


LatentSettings = LdmSettings | MaisiBrainSettings
KINDS = ("ldm", "maisi-mr-brain")
