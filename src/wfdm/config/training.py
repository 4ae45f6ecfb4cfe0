"""Keys that the trainings of both stages have, each with its reason."""

from typing import Annotated, Literal

from pydantic import Field

from wfdm.config.base import NO_NUMBERS, Fraction, Positive, Rate, Section

GradientClip = Annotated[Rate, Field(description="our choice: norm; keeps a bad batch harmless")]
Precision = Annotated[
    Literal["32-true", "bf16-mixed", "16-mixed"],
    Field(description="our choice: float range without loss scaling"),
]
StartFrom = Annotated[
    str | None,
    Field(
        description="weights to begin with: a trained model's folder, or a safetensors file; null: "
        "fresh ones",
        json_schema_extra=NO_NUMBERS,
    ),
]
ValidateEvery = Annotated[
    Positive, Field(description="our choice: steps; also when the state is kept")
]
CpuThreads = Annotated[
    Positive, Field(description="our choice; of the CPU, where results depend on their number")
]


class AveragedTraining(Section):
    """Training by Adam of a network whose average is kept: stage B, and what takes from it."""

    steps: Positive = Field(500_000, description="our choice: 111 passes at batch 8")
    batch_size: Positive = Field(8, description="our choice: latents are small")
    learning_rate: Rate = Field(1e-4, description="our choice; MAISI takes 1e-5")
    warmup_steps: int = Field(1000, ge=0, description="our choice: linear")
    decay_power: Rate = Field(2.0, description="polynomial decay (authors' code); MAISI's power")
    gradient_clip: GradientClip = 1.0
    ema_decay: Fraction = Field(0.9999, description="authors' code, where it is on")
    balance: Fraction = Field(
        0.7, description="modality weight 1/count**balance (authors' code, where it is on); 0: off"
    )
    precision: Precision = "bf16-mixed"
    validate_every: ValidateEvery = 5000
    validation_scans: Positive = Field(
        512, description="our choice; first by seed, the same every time"
    )
    threads: CpuThreads = 8
