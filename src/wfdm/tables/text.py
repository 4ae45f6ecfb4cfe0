"""Cells as text of fixed format, so that the same study writes the same bytes."""

from math import isnan


def number(value: float, style: str) -> str:
    """Format a number; empty where there is none."""
    return "" if isnan(value) else format(value, style)


def join(*parts: str) -> str:
    """Return the parts of a note that say something, as one."""
    return "; ".join(part for part in parts if part)
