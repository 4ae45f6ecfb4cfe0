"""What every section of the settings shares."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]


Fraction = Annotated[float, Field(ge=0, le=1)]


Rate = Annotated[float, Field(gt=0)]


Size = tuple[Positive, Positive, Positive]


class Section(BaseModel):
    """Settings are immutable, and an unknown key is an error rather than a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)
