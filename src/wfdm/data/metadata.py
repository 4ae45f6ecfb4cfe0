"""The 25 metadata fields: from recorded text to (d_i, r_i) of the paper's section 2.2.2."""

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wfdm.atomic import write_text
from wfdm.config.files import read_yaml
from wfdm.errors import UserError

SCHEMA = Path(__file__).with_name("metadata.yaml")  # in a checkout also config/metadata.yaml
YES_NO = ("no", "yes")
_BIN = re.compile(r"(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)")


class ImplausibleValueError(UserError):
    """A number outside the range that its field allows: a typing error, not an unknown spelling."""


@dataclass(frozen=True)
class Field:
    """One metadata field.

    `values` are the categories whose integer identifiers are 1, 2, ...; 0 is "missing".
    `embedding` is the width of its learned embedding (0 for numbers, which enter as they are).
    """

    name: str
    kind: Literal["numeric", "category", "yes_no"]
    embedding: int = 0
    values: tuple[str, ...] = ()
    spellings: Mapping[str, str] = None  # type: ignore[assignment]
    range: tuple[float, float] | None = None
    bin_years: float | None = None
    mean: float = 0.0
    standard_deviation: float = 1.0

    @property
    def classes(self) -> int:
        """Number of integer identifiers, "missing" included; 0 for numbers."""
        return len(self.values) + 1 if self.values else 0


@dataclass(frozen=True)
class Schema:
    """The fields in their fixed order, and the spellings of "not recorded"."""

    fields: tuple[Field, ...]
    missing: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Field names in order."""
        return tuple(field.name for field in self.fields)

    @property
    def numeric(self) -> list[int]:
        """Places of the numbers among the fields."""
        return [i for i, field in enumerate(self.fields) if field.kind == "numeric"]

    @property
    def coded(self) -> list[int]:
        """Places of the categories and yes/no fields: of all that have integer identifiers."""
        return [i for i, field in enumerate(self.fields) if field.kind != "numeric"]


Statistics = Mapping[str, tuple[float, float]]


@functools.cache
def load_schema(path: Path = SCHEMA) -> Schema:
    """Read the schema of the 25 fields."""
    content = read_yaml(path)
    return Schema(
        fields=tuple(_field(entry) for entry in content["fields"]),
        missing=frozenset(map(_spelled, content["missing"])),
    )


def _spelled(value: object) -> str:
    """Return a spelling as it is looked up; YAML reads -9, yes or ~ as no text."""
    if isinstance(value, bool):
        return YES_NO[value]
    return "" if value is None else str(value).strip().lower()


def is_missing(text: str) -> bool:
    """Return whether a recorded text means "not recorded"."""
    return text.strip().lower() in load_schema().missing


def _field(entry: dict[str, Any]) -> Field:
    values = YES_NO if entry["kind"] == "yes_no" else tuple(entry.get("values", ()))
    spellings = {"n": "no", "y": "yes"} if entry["kind"] == "yes_no" else {}
    spellings |= {value.lower(): value for value in values}
    for spelling, value in entry.get("spellings", {}).items():
        meant = "" if value in ("", None) else spellings.get(_spelled(value))
        if meant is None:
            raise UserError(
                f"{SCHEMA.name}: {entry['name']}: the spelling '{spelling}' stands for '{value}', "
                f"which is none of {', '.join(values)}: correct it"
            )
        spellings[_spelled(spelling)] = meant
    limits = entry.get("range")
    return Field(
        name=entry["name"],
        kind=entry["kind"],
        embedding=entry.get("embedding", 0),
        values=values,
        spellings=spellings,
        range=tuple(limits) if limits else None,
        bin_years=entry.get("bin_years"),
        mean=entry.get("mean", 0.0),
        standard_deviation=entry.get("standard_deviation", 1.0),
    )


def published_statistics() -> Statistics:
    """Return the authors' published means and standard deviations of the numeric fields."""
    fields = load_schema().fields
    return {f.name: (f.mean, f.standard_deviation) for f in fields if f.kind == "numeric"}


def write_statistics(statistics: Statistics, path: Path | str) -> None:
    """Write statistics as JSON, atomically."""
    named = {
        name: {"mean": mean, "standard_deviation": deviation}
        for name, (mean, deviation) in statistics.items()
    }
    write_text(path, json.dumps(named, indent=1) + "\n")


def read_statistics(path: Path | str) -> Statistics:
    """Read what `write_statistics` wrote."""
    named = json.loads(Path(path).read_text(encoding="utf-8"))
    return {name: (each["mean"], each["standard_deviation"]) for name, each in named.items()}


def canonical(field: Field, raw: object, where: str) -> str:
    """Return the canonical text of one recorded value, or "" when it is not recorded.

    Raises UserError, naming `where`, for a spelling the schema does not know or a word where a
    number belongs; ImplausibleValueError for a number outside the field's range. The messages do
    not tell the value: it says something about a person, and messages end in logs.
    """
    text = "" if raw is None else str(raw).strip()
    if text.lower() in load_schema().missing:
        return ""
    if field.kind == "numeric":
        return _number(field, text, where)
    known = field.spellings.get(text.lower())
    if known is None and field.bin_years:
        known = _binned(field, text)
    if known is None:
        raise UserError(
            f"{where}: {field.name} is in no known spelling; known are "
            f"{', '.join(field.values)}: correct it, or add its spelling to config/metadata.yaml"
        )
    return known


def _binned(field: Field, text: str) -> str | None:
    """Return the category that holds the middle of a bin "low-high", if it is narrow enough."""
    found = _BIN.fullmatch(text)
    if not found or not field.bin_years:
        return None
    low, high = map(float, found.groups())
    return _category_of((low + high) / 2, field) if 0 < high - low <= field.bin_years else None


def _category_of(number: float, field: Field) -> str | None:
    """Return the category [low, high) of `field` that holds `number`; the last one is closed."""
    for value in field.values:
        low, high = map(float, value.split("-"))
        if low <= number < high or (number == high and value == field.values[-1]):
            return value
    return None


def age_group_of(age: str) -> str:
    """Return the age group of a recorded age in years; "" where there is none or no group fits."""
    field = next(f for f in load_schema().fields if f.name == "age_group")
    return (_category_of(float(age), field) or "") if age else ""


def _number(field: Field, text: str, where: str) -> str:
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where}: {field.name} is not a number") from None
    if not np.isfinite(value):
        return ""
    low, high = field.range or (-np.inf, np.inf)
    if not low <= value <= high:
        raise ImplausibleValueError(
            f"{where}: {field.name} is outside {low} to {high}: correct it or leave it empty"
        )
    return text


def encode(
    row: Mapping[str, object], statistics: Statistics | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Encode the recorded metadata of one scan.

    Args:
        row: field name to recorded value; absent keys and empty values are "not recorded".
        statistics: mean and standard deviation per numeric field, from the training split;
            the authors' published constants when none are given.

    Returns:
        (d, r), both float32 of length 25 in the schema's order. d holds z-scores and integer
        identifiers, 0 where nothing is recorded; r is 1 where a value is recorded (paper, 2.2.2).

    Raises:
        UserError: for a spelling or number the schema does not know.
    """
    schema = load_schema()
    scale = published_statistics() if statistics is None else statistics
    values = np.zeros(len(schema.fields), np.float32)
    recorded = np.zeros(len(schema.fields), np.float32)
    where = str(row.get("scan_id", "metadata"))
    for position, field in enumerate(schema.fields):
        text = canonical(field, row.get(field.name, ""), where)
        if not text:
            continue
        recorded[position] = 1.0
        if field.kind == "numeric":
            mean, deviation = scale[field.name]
            values[position] = (float(text) - mean) / deviation
        else:
            values[position] = field.values.index(text) + 1
    return values, recorded


def decode(
    values: np.ndarray, recorded: np.ndarray, statistics: Statistics | None = None
) -> dict[str, str]:
    """Return the recorded metadata that `encode` turned into (values, recorded).

    Numbers come back with the seven digits that single precision holds; fields that are not
    recorded are left out.
    """
    scale = published_statistics() if statistics is None else statistics
    row = {}
    for field, value, is_recorded in zip(load_schema().fields, values, recorded, strict=True):
        if not is_recorded:
            continue
        if field.kind == "numeric":
            mean, deviation = scale[field.name]
            row[field.name] = f"{float(value) * deviation + mean:.7g}"
        else:
            row[field.name] = field.values[int(value) - 1]
    return row


def statistics_of(rows: Iterable[Mapping[str, object]]) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of each numeric field over `rows`.

    A field recorded fewer than twice, or constant, keeps the published constants: with them the
    z-score stays defined should a value turn up outside the training split.
    """
    collected = list(rows)
    result = {}
    for name, published in published_statistics().items():
        field = next(f for f in load_schema().fields if f.name == name)
        texts = [canonical(field, row.get(name, ""), str(row.get("scan_id"))) for row in collected]
        numbers = np.array([float(text) for text in texts if text])
        spread = float(numbers.std()) if len(numbers) > 1 else 0.0
        result[name] = (float(numbers.mean()), spread) if spread > 0 else published
    return result
