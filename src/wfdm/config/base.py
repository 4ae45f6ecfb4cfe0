"""What every section of the settings shares."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
NO_NUMBERS: dict[str, Any] = {"changes_results": False}
Size = tuple[Positive, Positive, Positive]
Percentiles = tuple[Annotated[float, Field(ge=0, lt=100)], Annotated[float, Field(gt=0, le=100)]]


class Section(BaseModel):
    """Settings are immutable, and an unknown key is an error rather than a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def because(self, **reasons: str) -> Self:
        """Say where values come from that are not their class's defaults; returns itself."""
        self.__dict__["_reasons"] = reasons  # no field: settings with other reasons are equal
        return self

    def reason(self, name: str) -> str | None:
        """Return why a key has the value that it has: its own reason, else its class's."""
        own: dict[str, str] = self.__dict__.get("_reasons", {})
        return own.get(name, type(self).model_fields[name].description)

    @classmethod
    def counted(cls) -> list[str]:
        """Return the names of the keys that can change a result: all that are not marked else.

        What is marked `json_schema_extra=NO_NUMBERS` may be changed while a training stands: it
        is continued.
        """
        return [
            name
            for name, field in cls.model_fields.items()
            if not field.exclude and field.json_schema_extra != NO_NUMBERS
        ]

    def numbers(self) -> dict[str, Any]:
        """Return, as JSON, the keys that can change a result."""
        return {name: _numbers(getattr(self, name)) for name in self.counted()}


def _numbers(value: Any) -> Any:
    if isinstance(value, Section):
        return value.numbers()
    if isinstance(value, dict):
        return {name: _numbers(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(each) for each in value]
    return to_jsonable_python(value)


def label_field(of: str) -> str:
    """Return the field of a name that only people read: it is in no stage's settings."""
    return Field("", exclude=True, description=f"{of}; empty: its key")
