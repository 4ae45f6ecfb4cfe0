"""What a generator's metrics put into a row of the tables of synthesis (2.5.7)."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from wfdm.errors import UserError
from wfdm.evaluation import ALL_TOGETHER, OVERALL
from wfdm.tables.measured import read_measured
from wfdm.tables.published import KEY
from wfdm.tables.text import number

METRICS = ("FID", "MMD", "MS-SSIM")
"""what the paper prints"""
# FID, MMD and KID depend on the feature network's scale, so significant digits.
FORMATS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("FID", "FID low", "FID high", "MMD", "MMD low", "MMD high"), ".6g"),
        **dict.fromkeys(("MMD fixed", "KID", "FID zscore-dataset", "MMD zscore-dataset"), ".6g"),
        **{"MS-SSIM": ".6f", "recognised": ".4f"},
    }
)
COUNTS = ("n_real", "n_synthetic", "pairs")
EXTRACTOR = ("extractor", "extractor_sha256")
TOGETHER = ("FID", "MMD", "KID")
"""what judges the features of all modalities as one set too"""
NONE = "made none of this modality"
OWN = (*(name for name in FORMATS if name not in METRICS), *COUNTS, *EXTRACTOR)
"""columns that the paper does not have"""
OWN_POOLED = (*(f"{name} {ALL_TOGETHER.lower()}" for name in TOGETHER), *OWN)
"""the same of a pooled table"""


def cells(path: Path | str, modality: str | None) -> dict[str, str]:
    """Return a generator's cells by column: metrics, own columns, note, "Output modalities".

    Args:
        path: CSV of `synthesis_metrics`.
        modality: of which; None pools all as the paper does, by the real scans' counts.

    Returns:
        Nothing where it made none of the modality.

    Raises:
        UserError: the file cannot be read, or has no pooled rows.
    """
    table = read_measured(path, ("modality", "note", *FORMATS, *COUNTS, *EXTRACTOR))
    parts = table[~table["modality"].isin((OVERALL, ALL_TOGETHER))]
    made = parts[parts["n_synthetic"] > 0]
    if modality:
        rows = made[made["modality"] == modality]
        return {} if rows.empty else _formatted(rows.iloc[0])
    together = _only(table, ALL_TOGETHER, path)
    return {
        "Output modalities": ", ".join(made["modality"]),
        **_formatted(_only(table, OVERALL, path)),
        **{
            f"{name} {ALL_TOGETHER.lower()}": number(together[name], FORMATS[name])
            for name in TOGETHER
        },
    }


def overall(path: Path | str) -> dict[str, float]:
    """Return a generator's METRICS, pooled as the paper does.

    Raises:
        UserError: the file cannot be read, or has no such row.
    """
    row = _only(read_measured(path, ("modality", *METRICS)), OVERALL, path)
    return {name: float(row[name]) for name in METRICS}


def with_none(
    found: Mapping[str, Mapping[str, str]], paper: pd.DataFrame
) -> dict[str, Mapping[str, str]]:
    """Return the rows that have cells, and of the paper's rows that have none a note why."""
    told = {key: row or {"note": NONE} for key, row in found.items()}
    return {key: row for key, row in told.items() if found[key] or key in set(paper[KEY])}


def _only(table: pd.DataFrame, name: str, path: Path | str) -> pd.Series:
    rows = table[table["modality"] == name]
    if len(rows) != 1:
        raise UserError(f"{path}: needs one row '{name}'; evaluate the synthesis again")
    return rows.iloc[0]


def _formatted(row: pd.Series) -> dict[str, str]:
    return {
        **{name: number(row[name], style) for name, style in FORMATS.items()},
        # Beside an empty cell pandas holds counts as decimals.
        **{name: number(row[name], ".0f") for name in COUNTS},
        **{name: "" if row.isna()[name] else str(row[name]) for name in (*EXTRACTOR, "note")},
    }
