"""What an audit of memorisation says of a row of the tables of synthesis, in a line."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from wfdm.tables.measured import read_measured

EVERY, LATENT = "All", "latent"
"""names of the audit's rows: all modalities, the latent space"""
AUDITED = (
    *("modality", "space", "n", "n_test", "distance", "distance_test"),
    *("closer", "by_chance", "p", "copies", "copies_test", "relative", "sample", "training"),
)


def read_audit(path: Path | str) -> pd.DataFrame:
    """Read an audit. Raises UserError where it cannot be read."""
    return read_measured(path, AUDITED)


def lines(audits: Mapping[str, Path | str], modality: str | None) -> dict[str, str]:
    """Return a line for each generator: how many samples are nearer than any test scan is.

    It is told of latents, where that is one of the audit's spaces, else of its first.

    Args:
        audits: CSV of `audits.memorisation.audit` by the generator's key.
        modality: of which; None: of all.
    """
    found = {}
    for key, path in audits.items():
        rows = read_audit(path)
        rows = rows[rows["modality"] == (modality or EVERY)]
        if rows.empty:
            continue
        of = rows[rows["space"] == LATENT]
        row = (rows if of.empty else of).iloc[0]
        found[key] = (
            f"{row['closer']} of {row['n']} samples are closer to a training scan than any of "
            f"{row['n_test']} test scans is ({row['space']}; by chance {row['by_chance']:.1f}), "
            f"{row['copies']} copies"
        )
    return found
