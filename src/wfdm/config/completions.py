"""Settings of completion: a control branch that makes a session's missing modalities."""

from typing import Literal

from pydantic import Field

from wfdm.config.base import Fraction, Positive, Rate, Section, label_field
from wfdm.config.generators import InferenceSettings, SamplerSettings
from wfdm.config.training import CpuThreads, GradientClip, Precision, ValidateEvery


class CompletionTraining(Section):
    """Training of the branch alone, the denoiser frozen; what stage B has, it takes from there."""

    steps: Positive = Field(
        100_000, description="our choice: the branch starts as the trained U-Net's way down"
    )
    batch_size: Positive = Field(8, description="our choice: stage B's")
    learning_rate: Rate = Field(1e-4, description="our choice: stage B's")
    warmup_steps: int = Field(1000, ge=0, description="our choice: linear")
    decay_power: Rate = Field(2.0, description="polynomial decay; stage B's")
    gradient_clip: GradientClip = 1.0
    loss: Literal["l1", "l2"] = Field("l2", description="stage B's")
    ema_decay: Fraction = Field(0.9999, description="stage B's")
    balance: Fraction = Field(
        0.7, description="weight 1/count**balance of the modality that is made; stage B's; 0: off"
    )
    precision: Precision = "bf16-mixed"
    validate_every: ValidateEvery = 5000
    validation_scans: Positive = Field(
        256, description="our choice; first by seed, the same every time"
    )
    threads: CpuThreads = 8


class CompletionSampling(Section):
    """How noise becomes the missing scan, in float32; no value of these trains anything."""

    sampler: Literal["euler", "heun", "ancestral", "ddim", "dpm-solver++"] = Field(
        "euler",
        description="euler, heun or dpm-solver++ for rflow; ancestral, ddim or dpm-solver++ for "
        "ddpm",
    )
    steps: Positive = Field(50, description="the generator's (paper, table 2)")
    eta: Fraction = Field(
        0.0, description="of ddim: 0 adds no noise on the way, 1 as much as ancestral"
    )

    @property
    def exact(self) -> SamplerSettings:
        """The sampler of these, without guidance and without a lever."""
        return SamplerSettings(
            sampler=self.sampler,
            steps=self.steps,
            eta=self.eta,
            inference=InferenceSettings(arithmetic="float32"),
        )


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
