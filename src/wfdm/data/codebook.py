"""The codebook beside a table: what BIDS' `participants.json` says of the codes and units in it."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wfdm.errors import UserError

_BARE = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)


@dataclass(frozen=True)
class Column:
    """What is said of one column: {code: meaning} (BIDS' Levels), and the unit of its numbers."""

    levels: Mapping[str, str] = field(default_factory=dict)
    units: str = ""

    def meaning(self, cell: str) -> str | None:
        """Return what a code means; None where the levels do not say. Case matters only if must."""
        if cell in self.levels:
            return self.levels[cell]
        alike = {text for code, text in self.levels.items() if code.lower() == cell.lower()}
        return alike.pop() if len(alike) == 1 else None


@dataclass(frozen=True)
class Codebook:
    """The columns that the files `read` speak of, by name in lower case."""

    columns: Mapping[str, Column] = field(default_factory=dict)
    read: tuple[Path, ...] = ()

    def of(self, column: str) -> Column:
        """Return what is said of a column; nothing where it is not mentioned."""
        return self.columns.get(column.strip().lower(), Column())


def is_code(cell: str) -> bool:
    """Return whether a cell is a bare number, which as a category says nothing by itself."""
    return _BARE.fullmatch(cell) is not None


def read_codebook(paths: Iterable[Path]) -> Codebook:
    """Read the codebooks of one table, the nearer ones last: a column's entry replaces another's.

    Raises:
        UserError: a file cannot be read, or is no JSON of columns, Levels and Units.
    """
    columns: dict[str, Column] = {}
    files = tuple(paths)
    for path in files:
        for name, about in _content(path).items():
            if isinstance(about, dict):
                columns[name.strip().lower()] = _column(about, f"{path}: {name}")
    return Codebook(columns, files)


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); fetch it, or give this user the right "
            "to it, or remove it"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as JSON ({reason}); correct it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a codebook is a mapping of columns; correct it")
    return content


def _column(about: Mapping[str, Any], where: str) -> Column:
    levels, units = about.get("Levels") or {}, about.get("Units") or ""
    if not isinstance(levels, dict):
        raise UserError(f"{where}: Levels is no mapping from code to meaning; correct it")
    if not isinstance(units, str):
        raise UserError(f"{where}: Units is no text; correct it")
    return Column({str(code).strip(): _text(text) for code, text in levels.items()}, units)


def _text(meaning: Any) -> str:
    """Return a level's meaning; newer BIDS may give it with a description and a term's address."""
    if isinstance(meaning, dict):
        meaning = meaning.get("Description", "")
    return str(meaning).strip()
