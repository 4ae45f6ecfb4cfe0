"""Tables that other people made: BIDS' tab separated text, taken as it stands or refused by line.

BIDS separates cells by tabs and knows no quotes: a quotation mark is a character like any other.
A row with another number of cells than the header cannot be read safely, for nobody knows which
cell is too many.
"""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from wfdm.errors import UserError

_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Row:
    """One row: its line in the file, counted from 1, and its cells by column."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table of text: its columns as they are spelled, its rows, and the lines that are empty."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    empty: tuple[int, ...] = ()


def read_tsv(path: Path) -> Table:
    """Read a tab separated table; cells lose the blanks around them, nothing else.

    UTF-8 is read, with a byte order mark or without, and UTF-16 with one. A row of nothing but
    empty cells says nothing and is left out (`Table.empty`), as is a column without name and cells.

    Raises:
        UserError: the file cannot be read or is in another encoding, it has no header, a column's
            name is missing or there twice, a row has more or fewer cells than the header.
    """
    lines = _lines(path)
    if not lines:
        raise UserError(f"{path}: the table is empty; write its header, or remove the file")
    head = _cells(lines[0][1])
    rows, empty = [], []
    for number, text in lines[1:]:
        cells = _cells(text)
        if len(cells) != len(head):
            raise UserError(
                f"{path}, line {number}: {len(cells)} cells, but the header has {len(head)}: "
                "separate cells by one tab each, and leave no tab too many or too few"
            )
        if any(cells):
            rows.append((number, cells))
        else:
            empty.append(number)
    named = _named(path, head, [cells for _, cells in rows])
    return Table(
        tuple(head[at] for at in named),
        tuple(Row(number, {head[at]: cells[at] for at in named}) for number, cells in rows),
        tuple(empty),
    )


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that hold anything, each with its number."""
    text = re.split(r"\r\n|\n|\r", _decoded(path))
    return [(number, line) for number, line in enumerate(text, 1) if line.strip(" ")]


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); fetch it, or give this user the right "
            "to it, or remove it"
        ) from error
    encoding = next((e for mark, e in _ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: not {encoding.removesuffix('-sig').upper()}; save the table as "
            f"UTF-8 (if it is Latin-1: iconv -f LATIN1 -t UTF-8 {path.name})"
        ) from error
    if "\0" in text:
        raise UserError(f"{path}: not text, or UTF-16 without its mark; save the table as UTF-8")
    return text


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")]


def _named(path: Path, head: list[str], rows: list[list[str]]) -> list[int]:
    """Return the positions of the columns that have a name."""
    named = [at for at, name in enumerate(head) if name]
    for at, name in enumerate(head):
        if not name and any(cells[at] for cells in rows):
            raise UserError(f"{path}: column {at + 1} holds values but has no name; name it")
    names = [head[at].lower() for at in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{path}: column '{twice[0]}' is there twice; remove or rename one")
    return named
