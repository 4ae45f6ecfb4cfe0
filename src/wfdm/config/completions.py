"""Settings of completion: a control branch that makes a session's missing modalities."""

from typing import Literal

from pydantic import Field

from wfdm.config.base import Fraction, Positive, Section, label_field
from wfdm.config.generators import InferenceSettings, SamplerSettings, TrajectorySettings
from wfdm.config.training import AveragedTraining


class CompletionTraining(AveragedTraining):
    """Training of the branch alone, the denoiser frozen; what stage B has, it takes from there."""

    steps: Positive = Field(
        100_000, description="our choice: the branch starts as the trained U-Net's way down"
    )
    loss: Literal["l1", "l2"] = Field("l2", description="stage B's")
    balance: Fraction = Field(
        0.7, description="weight 1/count**balance of the modality that is made; stage B's; 0: off"
    )
    validation_scans: Positive = Field(
        256, description="our choice; first by seed, the same every time"
    )


class CompletionSampling(TrajectorySettings):
    """How noise becomes the missing scan, in float32; no value of these trains anything."""

    @property
    def exact(self) -> SamplerSettings:
        """The sampler of these, without guidance and without a lever."""
        exact = InferenceSettings(arithmetic="float32")
        return SamplerSettings(**self.model_dump(), inference=exact)


class CompletionSettings(Section):
    """One control branch on a trained denoiser of kind unet (Zhang et al. 2023); a row of A1."""

    label: str = label_field("name in tables and figures")
    denoiser: str = Field(description="name of the denoiser, which stays as it is")
    condition_channels: Positive = Field(
        16, description="inside the embedding of the given latents; BrainMint's own placeholder"
    )
    training: CompletionTraining = CompletionTraining()
    sampling: CompletionSampling = CompletionSampling()
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
