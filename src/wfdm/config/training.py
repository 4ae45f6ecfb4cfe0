"""Keys that the trainings of both stages have, each with its reason."""

from typing import Annotated, Literal

from pydantic import Field

from wfdm.config.base import NO_NUMBERS, Positive, Rate

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
