"""The scans of one split, none of which a training can do without."""

import pandas as pd

from wfdm.errors import UserError


def of_split(scans: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the rows of a split in their order. Raises UserError where there is none."""
    rows = scans[scans["split"] == split]
    if rows.empty:
        raise UserError(
            f"no scan is in the {split} split, which training needs; add people or change "
            f"split.{split}"
        )
    return rows
