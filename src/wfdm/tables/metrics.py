"""A study's numbers of several tables, as DVC compares them between snapshots."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from wfdm.tables.measured import read_measured
from wfdm.tables.table3 import LATENT, SHORT


def metrics(tables: Mapping[str, Path | str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return this study's metrics out of finished tables: what stands beside a published value.

    Args:
        tables: CSV of a finished table by its name.

    Returns:
        table name -> model -> metric -> value, rows of this study only.

    Raises:
        UserError: a file is no finished table.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, path in tables.items():
        table = read_measured(path, ("Model",))
        paired = (column for column in table if f"{column} published" in table)
        measured = [column for column in paired if column not in (*LATENT, *SHORT)]
        numeric = table[measured].apply(pd.to_numeric, errors="coerce")
        found[name] = {
            model: {metric: float(value) for metric, value in row.dropna().items()}
            for model, (_, row) in zip(table["Model"], numeric.iterrows(), strict=True)
            if row.notna().any()
        }
    return found
