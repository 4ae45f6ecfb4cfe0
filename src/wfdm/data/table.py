"""The scan table: one row per scan, the contract of every source with every stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from wfdm.atomic import atomic_path
from wfdm.data.metadata import load_schema
from wfdm.errors import UserError

if TYPE_CHECKING:
    import pandera.pandas as pa

MODALITIES = ("T1w", "T2w", "T1Gd", "FLAIR")
MODALITY_IDS = {modality: index for index, modality in enumerate(MODALITIES)}
SPLITS = ("train", "validation", "test")
# What was done to a scan before it came here; preprocessing treats each state differently:
# raw: as scanned; brain: only the brain is left, in whatever space; identity: SRI-24, brain only,
# not normalised; preprocessed: BrainScape's whole pipeline (SRI-24, brain only, percentiles in
# [0, 1]); skull: the same with the skull still there.
STATES = ("raw", "brain", "identity", "preprocessed", "skull")
IDENTITY = (
    *("scan_id", "dataset", "person", "subject", "session", "group", "modality"),
    *("path", "state"),
)


def check_modality(modality: str, where: Path | str = "") -> None:
    """Raise UserError, naming `where`, for a modality that the study does not know."""
    if modality not in MODALITIES:
        raise UserError(f"{where}: {_unknown(modality)}" if where else _unknown(modality))


def _unknown(modality: str) -> str:
    return f"unknown modality '{modality}': use {', '.join(MODALITIES)}"


def columns() -> tuple[str, ...]:
    """Return the columns of the scan table in order."""
    return IDENTITY + load_schema().names


def _schema() -> pa.DataFrameSchema:
    import pandera.pandas as pa  # here: it takes a second, and planning only reads

    def _text(pattern: str) -> pa.Column:
        return pa.Column(str, pa.Check.str_matches(pattern))

    identity = {
        "scan_id": pa.Column(str, pa.Check.str_matches(r"^[^\s/]+/sub-\S+$"), unique=True),
        "dataset": _text(r"^[A-Za-z0-9]+$"),
        "person": _text(r"^\S+$"),
        "subject": _text(r"^[A-Za-z0-9+-]+$"),
        "session": _text(r"^[A-Za-z0-9+-]*$"),
        "group": _text(r"^\d+$"),
        "modality": pa.Column(str, pa.Check.isin(MODALITIES)),
        "path": _text(r"^\S.*$"),
        "state": pa.Column(str, pa.Check.isin(STATES)),
    }
    metadata = {name: pa.Column(str) for name in load_schema().names}
    return pa.DataFrameSchema(identity | metadata, strict=True, ordered=True)


def check_scans(scans: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return `scans` when every row obeys the schema.

    Raises UserError naming `where`, the first column, row and value that do not.
    """
    from pandera.errors import SchemaError, SchemaErrors

    try:
        return _schema().validate(scans)
    except SchemaErrors as error:  # the columns: several of them
        missing = [name for name in columns() if name not in scans]
        others = [str(name) for name in scans if name not in columns()]
        raise UserError(
            f"{where}: no scan table: it lacks {', '.join(missing[:5]) or 'no column'}, and has "
            f"{', '.join(others[:5]) or 'no other'} besides; make it with wfdm index"
        ) from error
    except SchemaError as error:
        cases = error.failure_cases
        first = cases.iloc[0] if isinstance(cases, pd.DataFrame) and len(cases) else None
        column = getattr(error.schema, "name", None) or "table"
        if first is None:
            detail = str(error).splitlines()[0]
        elif str(error.check).startswith("field_uniqueness"):
            detail = f"'{first['failure_case']}' is in more than one row: keys must be unique"
        elif column == "modality":
            detail = _unknown(first["failure_case"])
        else:
            detail = f"row {first['index']}: '{first['failure_case']}' fails {error.check}"
        raise UserError(f"{where}: {column}: {detail}") from error


def read_table(path: Path | str) -> pd.DataFrame:
    """Read any table of the pipeline: tab separated, every cell text, empty = not recorded."""
    try:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from error


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table as one mapping per row, column name to cell."""
    return [{str(name): cell for name, cell in row.items()} for row in table.to_dict("records")]


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table of the pipeline atomically, tab separated."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False)


def write_csv(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table that people read (metrics, tables of the paper) atomically, as CSV."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_scans(path: Path | str) -> pd.DataFrame:
    """Read and check a scan table."""
    return check_scans(read_table(path), str(path))


def write_scans(scans: pd.DataFrame, path: Path | str) -> None:
    """Check a scan table, sort it by key (the order of discovery does not show) and write it."""
    ordered = scans.loc[:, list(columns())].sort_values("scan_id", ignore_index=True)
    write_table(check_scans(ordered, str(path)), path)


def with_split(volumes: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Return the preprocessed volumes with their split; each must have one.

    Raises UserError when the two tables do not belong together.
    """
    joined = volumes.merge(splits[["scan_id", "person", "split"]], on="scan_id", how="left")
    lost = joined.loc[joined["split"].isna(), "scan_id"]
    if len(lost):
        raise UserError(f"volumes without a split: {lost.iloc[0]} and {len(lost) - 1} more")
    return joined
