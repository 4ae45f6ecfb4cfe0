"""The paper's tables, and a study's rows beside them.

Rows are joined by their key, the name that a row has in the study's configuration, never by the
words that people read: a label can be reworded and keeps its published values.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from wfdm.errors import UserError
from wfdm.tables.text import join

KEY = "key"
ABSENT = "not in this study"
OWN = "not in the paper"


def read_published(path: Path | str) -> pd.DataFrame:
    """Read a table of the paper from `config/published`: its keys, and every cell as printed.

    Raises:
        UserError: the file is missing or no CSV, has no column `key`, or has a key twice.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: this table of the paper is missing; it is part of the checkout")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from None
    if KEY not in table:
        raise UserError(f"{path}: has no column '{KEY}'; config/published/README.md explains it")
    twice = table.loc[table[KEY].duplicated(), KEY]
    if len(twice):
        raise UserError(f"{path}: key '{twice.iloc[0]}' is in two rows; keys must be unique")
    return table


def beside(
    ours: Mapping[str, Mapping[str, str]],
    paper: pd.DataFrame,
    pairs: Sequence[str],
    extra: Sequence[str],
    note: str,
    name: str = "Model",
) -> pd.DataFrame:
    """Put rows of this study beside the paper's of the same key.

    The paper's rows come first, in the paper's order and with its names; then this study's own
    rows, in their order.

    Args:
        ours: cells by column, by the row's key; `name` is the row's label, `note` its own note.
        paper: as `read_published` returns it.
        pairs: columns of both, shown side by side.
        extra: columns of this study alone.
        note: of every row that this study has.
        name: the column that says what a row is.

    Returns:
        Columns `name`; each of `pairs` and its published value; `extra`; what only the paper
        gives; note.
    """
    printed = {str(row[KEY]): row for row in paper.to_dict("records")}
    only_paper = [each for each in paper.columns if each not in (KEY, name, *pairs)]
    rows = []
    for key in (*printed, *(key for key in ours if key not in printed)):
        mine, theirs = ours.get(key, {}), printed.get(key, {})
        cells = {name: theirs[name] if theirs else _own_name(key, mine[name], paper[name])}
        for column in pairs:
            cells |= {column: mine.get(column, "")}
            cells |= {f"{column} published": theirs.get(column, "")}
        cells |= {column: mine.get(column, "") for column in extra}
        cells |= {f"{column} published": theirs.get(column, "") for column in only_paper}
        whose = ("" if theirs else OWN, mine.get("note", ""), note)
        rows.append(cells | {"note": join(*whose) if mine else ABSENT})
    return pd.DataFrame(rows)


def _own_name(key: str, label: str, paper: pd.Series) -> str:
    """Return the name of a row that the paper does not have; it never equals one of the paper's."""
    return f"{label} [{key}]" if label in set(paper) else label
