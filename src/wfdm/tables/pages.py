"""Tables as HTML pages that need nothing beside them: what a report shows, and a browser reads."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pandas as pd

from wfdm.atomic import write_text
from wfdm.errors import UserError
from wfdm.html import render
from wfdm.tables.published import ABSENT

HERE = Path(__file__).parent
PAPER = " published"
"""ends the name of a column that holds the paper's values"""
NOTES = ("reason", "note")
"""columns of long texts, shown below the table, each once"""
SHOWN = 500  # rows of a page; the file beside it has all of them
DIGEST = re.compile(r"[0-9a-f]{64}")
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?|nan|inf")


@dataclass(frozen=True)
class Head:
    """A heading that one or two columns stand under, and what each of them holds."""

    text: str
    whose: tuple[str, ...]


def write_page(file: Path, page: Path, title: str) -> Path:
    """Write a table of the pipeline as a page; return where the page is.

    Args:
        file: the table, as CSV or as TSV.
        page: to write.
        title: stands above the table.

    Raises:
        UserError: the table cannot be read.
    """
    separator = "\t" if file.suffix == ".tsv" else ","
    try:
        table = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{file}: cannot be read as a table: {error}") from error
    write_text(page, table_page(table, title, file.name, file.read_bytes()))
    return page


def write_figure(file: Path, page: Path, title: str) -> Path:
    """Write a figure (PNG) as a page that fits it into the window; return where the page is."""
    picture = base64.b64encode(file.read_bytes()).decode()
    write_text(page, render(HERE / "figure.html.jinja", title=title, picture=picture))
    return page


def table_page(table: pd.DataFrame, title: str, name: str, content: bytes) -> str:
    """Return a table as a page: the paper's values beside this study's, notes below.

    Args:
        table: every cell as text; a column `X published` stands beside the column `X`.
        title: stands above the table.
        name: of the file that the table is from.
        content: of that file; the page offers it.
    """
    same = _same(table)
    columns = [str(column) for column in table if column not in (*NOTES, *same)]
    letters = _letters(table)
    rows = [
        {
            "cells": [_cell(row[column]) for column in columns],
            "notes": [letters[row[column]] for column in NOTES if row.get(column)],
            "absent": row.get("note", "").startswith(ABSENT),
        }
        for row in table.head(SHOWN).to_dict("records")
    ]
    return render(
        HERE / "table.html.jinja",
        title=title,
        heads=_heads(columns),
        paired=any(column.endswith(PAPER) for column in columns),
        rows=rows,
        notes={letter: text for text, letter in letters.items()},
        same=same,
        length=len(table),
        name=name,
        download=base64.b64encode(content).decode(),
    )


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


def _heads(columns: Sequence[str]) -> list[Head]:
    """Return the headings of columns: `X` and `X published` stand under one."""
    whose: dict[str, list[str]] = {}
    for column in columns:
        name = column.removesuffix(PAPER)
        whose.setdefault(name, []).append("here" if name == column else "paper")
    return [Head(name, tuple(held)) for name, held in whose.items()]


def _letters(table: pd.DataFrame) -> dict[str, str]:
    """Return a letter for each long text, in the order of the rows: a to z, then aa, ab..."""
    texts = (text for column in NOTES if column in table for text in table[column].head(SHOWN))
    found = list(dict.fromkeys(text for text in texts if text))
    size = len(ascii_lowercase)
    return {
        text: ascii_lowercase[place // size - 1] * (place >= size) + ascii_lowercase[place % size]
        for place, text in enumerate(found)
    }


def _cell(text: str) -> dict[str, Any]:
    """Return a cell: a digest shows its first 12 digits, and a number stands on the right."""
    shown = text[:12] if DIGEST.fullmatch(text) else text
    whole = text if shown != text else ""
    return {"text": shown, "whole": whole, "number": bool(NUMBER.fullmatch(text))}
