"""Settings of completion: a control branch that makes a session's missing modalities."""

from typing import Literal

from pydantic import Field, model_validator

from wfdm.config.base import Fraction, Positive, Section, label_field
from wfdm.config.generators import TrajectorySettings
from wfdm.config.training import AveragedTraining


class CompletionTraining(AveragedTraining):
    """Training of the branch alone, the denoiser frozen; what stage B has, it takes from there."""

    steps: Positive = Field(
        100_000, description="our choice: the branch starts as the trained U-Net's way down"
    )
    loss: Literal["l1", "l2"] = Field("l2", description="stage B's")
    pure_noise: Fraction = Field(
        0.0,
        description="our choice: share of the items that are noised all the way, where the sources "
        "say most; stage B's: 0",
    )
    balance: Fraction = Field(
        0.7, description="weight 1/count**balance of the modality that is made; stage B's; 0: off"
    )
    validation_scans: Positive = Field(
        256, description="our choice; first by seed, the same every time"
    )


class CompletionSampling(TrajectorySettings):
    """How noise becomes the missing scan, in float32; no value of these trains anything."""

    draws: Positive = Field(
        1,
        description="our choice: completions from as many noises, of which the mean latent is "
        "decoded: nearer in the mean square, and smoother than any scan; 1: a draw",
    )


class PlainUNetSettings(Section):
    """A plain image-to-image U-Net on the same latents: MONAI's SegResNet, of residual blocks."""

    channels: Positive = Field(32, description="our choice: of the first level; each has twice")
    down: tuple[Positive, ...] = Field((1, 2, 2, 4), description="MONAI's: blocks on each level")
    up: tuple[Positive, ...] = Field((1, 1, 1), description="MONAI's: blocks on the way up")
    norm_groups: Positive = Field(8, description="MONAI's")

    @model_validator(mode="after")
    def _sizes_agree(self) -> "PlainUNetSettings":
        if len(self.up) != len(self.down) - 1:
            raise ValueError("up must have one entry less than down")
        if self.channels % self.norm_groups:
            raise ValueError(f"norm_groups does not divide {self.channels} channels")
        return self


class CompletionSettings(Section):
    """One control branch on a trained denoiser of kind unet (Zhang et al. 2023); a row of A1."""

    label: str = label_field("name in tables and figures")
    denoiser: str = Field(description="name of the denoiser, which stays as it is")
    condition_channels: Positive = Field(
        16, description="inside the embedding of the given latents; BrainMint's own placeholder"
    )
    direct_channels: int = Field(
        0,
        ge=0,
        description="our choice: of a path from the given latents to the answer that passes by the "
        "denoiser, for one that was trained for minutes; as published: 0, none",
    )
    training: CompletionTraining = CompletionTraining()
    sampling: CompletionSampling = CompletionSampling()
    unet: PlainUNetSettings | None = Field(
        None,
        description="a floor of table A1: a U-Net that is trained on the same draws, by as many "
        "steps, to say the missing latent at once; null: none",
    )
    lesions: str | None = Field(
        None,
        description="folder of lesion masks on the study's grid, "
        "DATASET/sub-*[_ses-*][_run-*]_lesion.nii.gz: sessions that have one are measured inside "
        "it too; null: none",
    )
    mixed: bool = Field(
        False,
        description="list the real scans beside the completed ones in "
        "completions/NAME/missing/volumes.tsv; false: only what was made stands there",
    )
