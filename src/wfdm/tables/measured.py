"""The metrics that a study's evaluation wrote, as its tables read them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from wfdm.errors import UserError


def read_measured(path: Path | str, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV of metrics; only a truly empty cell is missing ("inf" is a number, "NA" a text).

    Raises:
        UserError: the file cannot be read, lacks one of `columns`, or has no row.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: cannot be read as metrics: {error}") from None
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise UserError(f"{path}: has no column '{lacking[0]}'; is it a file of this evaluation?")
    if table.empty:
        raise UserError(f"{path}: there is no test scan in it; evaluate again with test scans")
    return table
