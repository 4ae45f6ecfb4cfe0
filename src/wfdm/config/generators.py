"""Settings of stage B: the denoiser, its process, training, sampling."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wfdm.config.base import Fraction, Positive, Rate, Section


class UNetSettings(Section):
    """The denoiser (paper, 2.5.4-2.5.5)."""

    channels: tuple[Positive, ...] = Field(
        (64, 128, 256, 512), description="MAISI's, which the authors' four-level tests match"
    )
    attention: tuple[bool, ...] = Field(
        (False, False, True, True), description="levels with self-attention; MAISI's"
    )
    head_channels: Positive = Field(32, description="channels of one attention head; MAISI's")
    res_blocks: Positive = Field(2, description="authors' code, each level")
    norm_groups: Positive = Field(32, description="authors' code")
    metadata_width: Positive = Field(
        256, description="our choice: width of e_meta, the modality embedding's of MAISI"
    )

    @model_validator(mode="after")
    def _levels_agree(self) -> "UNetSettings":
        if len(self.channels) != len(self.attention):
            raise ValueError("channels and attention must have one entry per level")
        return self


class RectifiedFlow(Section):
    """The paper's final process: straight paths, velocity target (paper, 3.3)."""

    kind: Literal["rflow"]
    reference_voxels: Positive = Field(
        32768, description="latent voxels with no time shift (authors' code: 32**3)"
    )


class DiffusionTraining(Section):
    """Stage B (paper, 2.5.6)."""

    steps: Positive = Field(500_000, description="our choice: 111 passes at batch 8")
    batch_size: Positive = Field(8, description="our choice: latents are small")
    learning_rate: Rate = Field(1e-4, description="our choice")
    warmup_steps: int = Field(1000, ge=0, description="our choice")
    decay_power: Rate = Field(2.0, description="polynomial decay (authors' code); MAISI's power")
    gradient_clip: Rate = Field(1.0, description="our choice")
    loss: Literal["l1", "l2"] = Field("l2", description="paper, table 5: the final model")
    ema_decay: Fraction = Field(0.9999, description="authors' code")
    balance: Fraction = Field(
        0.7, description="modality weight 1/count**balance (authors' code); 0 turns it off"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "bf16-mixed", description="our choice: float range without loss scaling"
    )
    validate_every: Positive = Field(5000, description="steps; also when the state is kept")
    validation_scans: Positive = Field(512, description="first by seed, the same every time")
    threads: Positive = Field(8, description="of the CPU; there, results depend on their number")


class DiffusionSettings(Section):
    """A trained generator: one row of table 4."""

    kind: Literal["diffusion"]
    label: str = Field(description="name in tables and figures, as in the paper")
    compressor: str = Field(description="name of the compressor whose latents it models")
    unet: UNetSettings = UNetSettings()
    process: RectifiedFlow = RectifiedFlow(kind="rflow")
    training: DiffusionTraining = DiffusionTraining()
    sampling_steps: Positive = Field(50, description="paper, table 2")


class NoiseSettings(Section):
    """The floor of table 4: unit noise, decoded. A trained generator must beat it."""

    kind: Literal["noise"]
    label: str = Field(description="name in tables and figures")
    compressor: str = Field(description="name of the compressor that decodes the noise")


GeneratorSettings = Annotated[DiffusionSettings | NoiseSettings, Field(discriminator="kind")]
