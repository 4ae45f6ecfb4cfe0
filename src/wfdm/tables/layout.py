"""How a table is laid out for people: what stands beside what, and what stands below.

One layout for the page of the report, for Markdown and for LaTeX.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import pandas as pd

from wfdm.tables.published import ABSENT

PAPER = " published"
"""ends the name of a column that holds the paper's values"""
NOTES = ("reason", "note")
"""columns of long texts, told below the table, each once"""
DIGEST = re.compile(r"[0-9a-f]{64}")
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?|nan|inf")


@dataclass(frozen=True)
class Head:
    """A heading that one or two columns stand under, and whose values each of them holds.

    Attributes:
        text: the heading.
        whose: "here" or "paper" for each of its columns.
    """

    text: str
    whose: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A cell: what is shown of its text, the whole text where that is more, is it a number."""

    text: str
    whole: str
    number: bool


@dataclass(frozen=True)
class Row:
    """A row: its cells, the letters of its notes, and whether only the paper has it."""

    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    absent: bool


@dataclass(frozen=True)
class Layout:
    """A table for people.

    Attributes:
        heads: headings, in the order of the columns.
        rows: one for each row that is shown.
        notes: long texts by their letter.
        same: by the column's name, the text that all rows share, told below the table.
        length: rows in all.
    """

    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    notes: dict[str, str]
    same: dict[str, str]
    length: int

    @property
    def whose(self) -> tuple[str, ...]:
        """Whose values each column holds, "here" or "paper"."""
        return tuple(whose for head in self.heads for whose in head.whose)

    @property
    def paired(self) -> bool:
        """Whether some column holds the paper's values."""
        return "paper" in self.whose


def layout(table: pd.DataFrame, shown: int | None = None) -> Layout:
    """Lay out a table: a column `X published` stands beside the column `X`, notes below.

    Args:
        table: every cell as text.
        shown: at most so many rows; by default all.
    """
    same = _same(table)
    columns = [str(column) for column in table if column not in (*NOTES, *same)]
    part = table.head(shown) if shown else table
    letters = _letters(part)
    rows = tuple(
        Row(
            cells=tuple(_cell(row[column]) for column in columns),
            notes=tuple(letters[row[column]] for column in NOTES if row.get(column)),
            absent=row.get("note", "").startswith(ABSENT),
        )
        for row in part.to_dict("records")
    )
    notes = {letter: text for text, letter in letters.items()}
    return Layout(_heads(columns), rows, notes, same, len(table))


def _same(table: pd.DataFrame) -> dict[str, str]:
    """Return the columns that say one text, and no number, in all rows that say anything.

    They stand below the table, as the paper has nothing beside them.
    """
    found = {}
    for column in map(str, table.columns[1:]):
        texts = {text for text in table[column] if text}
        alone = f"{column}{PAPER}" not in table and not column.endswith(PAPER)
        if alone and column not in NOTES and len(texts) == 1 < len(table):
            (text,) = texts
            if not NUMBER.fullmatch(text):
                found[column] = text
    return found


def _heads(columns: Sequence[str]) -> tuple[Head, ...]:
    """Return the headings of columns: `X` and `X published` stand under one."""
    whose: dict[str, list[str]] = {}
    for column in columns:
        name = column.removesuffix(PAPER)
        whose.setdefault(name, []).append("here" if name == column else "paper")
    return tuple(Head(name, tuple(held)) for name, held in whose.items())


def _letters(table: pd.DataFrame) -> dict[str, str]:
    """Return a letter for each long text, in the order of the rows: a to z, then aa, ab..."""
    texts = (text for column in NOTES if column in table for text in table[column])
    found = list(dict.fromkeys(text for text in texts if text))
    size = len(ascii_lowercase)
    return {
        text: ascii_lowercase[place // size - 1] * (place >= size) + ascii_lowercase[place % size]
        for place, text in enumerate(found)
    }


def _cell(text: str) -> Cell:
    """Return a cell: a digest shows its first 12 digits, and a number stands on the right."""
    shown = text[:12] if DIGEST.fullmatch(text) else text
    return Cell(shown, text if shown != text else "", bool(NUMBER.fullmatch(text)))
