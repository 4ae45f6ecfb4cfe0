"""The split table (data/splits.tsv) as later stages read it, checked for people in two splits."""

from pathlib import Path

import pandas as pd

from wfdm.data.table import read_scans, read_table, with_split
from wfdm.errors import UserError

COLUMNS = ("scan_id", "person", "split", "leak")


def read_splits(path: Path | str) -> pd.DataFrame:
    """Read a split table and refuse one in which somebody is in two splits without a mark."""
    splits = read_table(path)
    if tuple(splits.columns) != COLUMNS:
        raise UserError(f"{path}: columns must be {', '.join(COLUMNS)}: make the split again")
    check_no_leak(splits)
    return splits


def check_no_leak(splits: pd.DataFrame) -> None:
    """Raise UserError when a scan has no split, or a person is in two and is not marked."""
    if splits["split"].isna().any():
        raise UserError(f"split: {splits.loc[splits['split'].isna(), 'scan_id'].iloc[0]} has none")
    unmarked = sorted(in_two_splits(splits) & set(splits.loc[splits["leak"] != "yes", "person"]))
    if unmarked:
        where = splits.loc[splits["person"] == unmarked[0]]
        raise UserError(
            f"split: {unmarked[0]} is in {where['split'].nunique()} splits, and "
            f"{len(unmarked) - 1} more people are in several ({where['scan_id'].iloc[0]}, ...): "
            "divide people, not scans (rule 'person'), or correct config/people.tsv"
        )


def in_two_splits(splits: pd.DataFrame) -> set[str]:
    """Return the people who are in two splits or three."""
    per_person = splits.groupby("person")["split"].nunique()
    return set(per_person[per_person > 1].index)


def encoded_scans(scans: Path, splits: Path, index: Path) -> pd.DataFrame:
    """Return the scan table's rows, without the person, of the scans that a table lists.

    Args:
        scans: the scan table.
        splits: the split table: its column is added.
        index: of latents, or the table of volumes.
    """
    table = read_scans(scans).drop(columns="person")
    listed = table[table["scan_id"].isin(read_table(index)["scan_id"])]
    return with_split(listed, read_splits(splits))
