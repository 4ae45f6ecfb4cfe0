"""Recorded numbers in the spellings of labs: units, ages as durations, caps, decimal commas."""

import re
from dataclasses import dataclass

from wfdm.errors import UserError

_DAY, _WEEK, _MONTH = 1 / 365.25, 7 / 365.25, 1 / 12  # of a year
# How much of the schema's unit (years, m, kg) one of each is. BMI has one unit.
UNITS: dict[str, dict[str, float]] = {
    "age": {
        **dict.fromkeys(("years", "year", "yrs", "yr", "y", "a"), 1.0),
        **dict.fromkeys(("months", "month", "mo", "mos"), _MONTH),
        **dict.fromkeys(("weeks", "week", "wk", "wks", "w"), _WEEK),
        **dict.fromkeys(("days", "day", "d"), _DAY),
    },
    "height": {
        **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
        **dict.fromkeys(("cm", "centimetre", "centimetres", "centimeter", "centimeters"), 0.01),
        **dict.fromkeys(("mm", "millimetre", "millimetres", "millimeter", "millimeters"), 0.001),
        **dict.fromkeys(("in", "inch", "inches"), 0.0254),
    },
    "weight": {
        **dict.fromkeys(("kg", "kilogram", "kilograms", "kilogramme", "kilogrammes"), 1.0),
        **dict.fromkeys(("g", "gram", "grams", "gramme", "grammes"), 0.001),
        **dict.fromkeys(("lb", "lbs", "pound", "pounds"), 0.45359237),
    },
    "BMI": dict.fromkeys(("kg/m2", "kg/m^2", "kg/m²", "kg*m-2", "kg.m-2"), 1.0),
}
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d+,(\d+)", re.ASCII)
_CAPPED = re.compile(r"(?:>=|≥)\s*(\d+)|(\d+)\s*(?:\+|or older)", re.ASCII)
# An age as ISO 8601 has it (P45Y, P1Y6M), as DICOM does (045Y), or both mixed (P045Y).
_DURATION = re.compile(
    r"P(?=\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?|(\d{1,3})([YMWD])", re.ASCII
)
_OF_DICOM = {"Y": 1.0, "M": _MONTH, "W": _WEEK, "D": _DAY}


@dataclass(frozen=True)
class Number:
    """A number in the schema's unit, as text, and what was assumed on the way ("": nothing)."""

    text: str
    note: str = ""


def number_of(field: str, cell: str, unit: str, where: str) -> Number:
    """Return what a cell says, in the unit of the schema's numeric field.

    A duration ("P045Y") carries its own unit; "89+" is read as 89, the cap, as BIDS has it; a
    comma is a decimal one unless three digits follow, when it may separate thousands.

    Args:
        field: name of a numeric field.
        cell: what is recorded, not empty.
        unit: in which it is recorded; "" is the schema's own unit.
        where: names file and person, for the message.

    Raises:
        UserError: the cell or the unit is in no known spelling. The message does not tell the
            value.
    """
    factor, note = factor_of(field, unit, where), ""
    if field == "age" and (years := _duration(cell)) is not None:
        return Number(f"{years:.6g}")
    if field == "age" and (capped := _CAPPED.fullmatch(cell)):
        cell, note = capped[1] or capped[2], "age is given as a lower bound: the bound is taken"
    if found := _COMMA.fullmatch(cell):
        if len(found[1]) == 3:
            raise UserError(
                f"{where}: the comma in {field} may be a decimal one or separate thousands; "
                "write a point, or nothing"
            )
        cell = cell.replace(",", ".")
    if not _PLAIN.fullmatch(cell):
        raise UserError(f"{where}: {field} is not a number; correct it, or write n/a")
    return Number(cell if factor == 1 else f"{float(cell) * factor:.6g}", note)


def factor_of(field: str, unit: str, where: str) -> float:
    """Return how much of the schema's unit one `unit` is; raise UserError for an unknown one."""
    known = UNITS[field]
    name = unit.strip().lower().removesuffix(" old").strip("[]() ")
    if name and name not in known:
        raise UserError(
            f"{where}: {field} has the unit '{unit}'; known are {', '.join(known)}: correct it"
        )
    return known[name] if name else 1.0


def _duration(cell: str) -> float | None:
    """Return the years of a duration; None for a cell of another form."""
    found = _DURATION.fullmatch(cell.strip().upper())
    if not found:
        return None
    if found[6]:
        return int(found[5]) * _OF_DICOM[found[6]]
    counts = zip(found.groups()[:4], (1.0, _MONTH, _WEEK, _DAY), strict=True)
    return sum(int(count) * share for count, share in counts if count)
