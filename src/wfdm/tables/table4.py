"""Table 4: realism and diversity of the synthetic scans by generator."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.evaluation import OVERALL
from wfdm.tables.measured import read_measured
from wfdm.tables.published import beside, read_published
from wfdm.tables.text import number

# FID and MMD depend on the feature network's scale, so significant digits.
FORMATS = {"FID": ".6g", "MMD": ".6g", "MS-SSIM": ".6f", "recognised": ".4f"}
COUNTS = ("n_real", "n_synthetic", "pairs", "extractor", "extractor_sha256")


def table4(
    generators: Mapping[str, Path | str],
    published: Path | str,
    note: str = "",
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Synthesis metrics, pooled as the paper pools them (paper, table 4).

    Args:
        generators: CSV of `synthesis_metrics` by the generator's key.
        published: the paper's table 4.
        note: how this study differs (`differences`).
        labels: what a generator is called in the table, by its key; by default its key.

    Raises:
        UserError: a file cannot be read, or has no row for all modalities.
    """
    called = dict(labels or {})
    ours = {key: _row(called.get(key, key), path) for key, path in generators.items()}
    pairs = ("Output modalities", "FID", "MMD", "MS-SSIM")
    return beside(ours, read_published(published), pairs, ("recognised", *COUNTS), note)


def _row(label: str, path: Path | str) -> dict[str, str]:
    metrics = read_measured(path, ("modality", "note", *FORMATS, *COUNTS))
    pooled = metrics["modality"] == OVERALL
    if pooled.sum() != 1:
        raise UserError(f"{path}: needs one row '{OVERALL}'; evaluate the synthesis again")
    overall = metrics[pooled].iloc[0]
    each = metrics["modality"].isin(MODALITIES)
    made = metrics.loc[each & (metrics["n_synthetic"] > 0), "modality"]
    return {
        "Model": label,
        "Output modalities": ", ".join(made),
        **{name: number(overall[name], style) for name, style in FORMATS.items()},
        **{name: str(overall[name]) for name in COUNTS},
        "note": "" if pd.isna(overall["note"]) else str(overall["note"]),
    }
