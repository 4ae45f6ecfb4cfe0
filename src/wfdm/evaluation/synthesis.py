"""The metrics of one generator: a row per modality, then all of them, pooled in two ways."""

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.evaluation import ALL_TOGETHER, OVERALL
from wfdm.evaluation.comparison import (
    Sides,
    columns_of,
    compared,
    ends,
    sides_of,
    together,
    weighted,
)
from wfdm.evaluation.distribution import Draws, pooled
from wfdm.evaluation.features import Features, read_features
from wfdm.evaluation.pairs import read_scores, self_similarity
from wfdm.evaluation.resampling import FEWEST_RESAMPLED

COLUMNS = (
    *("modality", "n_real", "n_synthetic"),
    *("FID", "FID low", "FID high"),
    *("MMD", "MMD low", "MMD high", "MMD fixed"),
    *("KID", "FID zscore-dataset", "MMD zscore-dataset"),
    *("MS-SSIM", "pairs", "recognised"),
    *("extractor", "extractor_sha256", "seed", "note"),
)
"""with the default mappings of intensities; further ones have their columns after KID"""
COUNTS = ("n_real", "n_synthetic", "pairs")
DISTANCES = ("FID", "MMD", "KID")
"""what the names of columns begin with that pool as means"""


def synthesis_metrics(
    real_features: Sequence[Path],
    synthetic_features: Sequence[Path],
    pairs: Sequence[Path],
    seed: int,
    resamples: int,
) -> pd.DataFrame:
    """Judge one generator's samples against the real test scans.

    Args:
        real_features: of the test scans, the shards of `extraction.extract`.
        synthetic_features: of the samples, by the same network.
        pairs: of the samples, the shards of `diversity.score_pairs`, in their order.
        seed: the study's, which the pairs and the resamples are drawn by.
        resamples: of the intervals.

    Returns:
        COLUMNS, one row per modality in the order T1w, T2w, T1Gd, FLAIR; then "Overall", the
        metrics as means weighted by the real scans' counts (how the paper pools) and `recognised`
        as the share of all samples; then "All together", the features of all modalities that both
        sides have as one set.

    Raises:
        UserError: features of two networks, or of other samples than the pairs.
    """
    real, made = read_features(real_features), read_features(synthetic_features)
    scores = read_scores(pairs)
    _check(real, made, scores, str(synthetic_features[0]))
    present = [name for name in MODALITIES if name in {*real.modalities, *made.modalities}]
    sides = {name: sides_of(real, made, name, seed, resamples) for name in present}
    found = {name: compared(each) for name, each in sides.items()}
    rows = []
    for name in present:
        similarity, count = self_similarity(scores, name)
        own = {"MS-SSIM": similarity, "pairs": count, "recognised": _recognised(made, name)}
        rows.append({"modality": name, **columns_of(sides[name], *found[name]), **own})
    table = pd.DataFrame(rows)
    drawn = {name: draws for name, (_, draws) in found.items()}
    last = [_overall(table, drawn), _all_together(sides, table)]
    table = pd.concat([table, pd.DataFrame(last)], ignore_index=True)
    table = table.assign(extractor=real.extractor, extractor_sha256=real.digest, seed=seed)
    return table[list(columns(real.intensities))]


def columns(intensities: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of metrics by features of some mappings of intensities."""
    extra = [f"{metric} {name}" for name in intensities[1:] for metric in ("FID", "MMD")]
    head, tail = COLUMNS.index("KID") + 1, COLUMNS.index("MS-SSIM")
    return (*COLUMNS[:head], *extra, *COLUMNS[tail:])


def _check(real: Features, made: Features, scores: pd.DataFrame, where: str) -> None:
    """Refuse features of different networks, and pairs of other samples."""
    for name in ("extractor", "digest", "intensities"):
        ours, theirs = getattr(made, name), getattr(real, name)
        if ours != theirs:
            raise UserError(
                f"{where}: {name} '{ours}' is not the real scans' '{theirs}'; extract both again"
            )
    if not set(scores["first"]) | set(scores["second"]) <= set(made.scan_ids):
        raise UserError(f"{where}: made from other samples than the pairs; score the pairs again")


def _recognised(made: Features, modality: str) -> float:
    """Return the share of a modality's samples whose nearest mean volume is of the modality."""
    pairs = zip(made.modalities, made.nearest, strict=True)
    hits = [nearest == asked for asked, nearest in pairs if asked == modality]
    return float(np.mean(hits)) if hits else nan


def _overall(table: pd.DataFrame, drawn: Mapping[str, Draws]) -> dict[str, object]:
    """Pool the modalities' rows as the paper does."""
    real, made = table["n_real"].tolist(), table["n_synthetic"].tolist()
    known = table[table["FID"].notna()]
    without = table.loc[table["FID"].isna(), "modality"]
    draws = weighted([drawn[name] for name in known["modality"]], known["n_real"].tolist())
    means = [name for name in map(str, table) if name.startswith((*DISTANCES, "MS-SSIM"))]
    notes = [f"FID, MMD and KID without {', '.join(without)}"] if len(without) else []
    if not (known[["n_real", "n_synthetic"]] >= FEWEST_RESAMPLED).all(axis=None) or known.empty:
        notes.append(f"intervals need {FEWEST_RESAMPLED} scans of every modality on each side")
    return {
        "modality": OVERALL,
        **{name: int(table[name].sum()) for name in COUNTS},
        **{name: pooled(table[name].tolist(), real) for name in means},
        **ends(draws),
        "recognised": pooled(table["recognised"].tolist(), made),
        "note": "; ".join(notes),
    }


def _all_together(sides: Mapping[str, Sides], table: pd.DataFrame) -> dict[str, object]:
    """Compare the scans of all modalities that both sides have as one set."""
    both = [name for name, each in sides.items() if each.fewest]
    without = [name for name in sides if name not in both]
    found: dict[str, Any] = {}
    if both:
        whole = together([sides[name] for name in both])
        found = columns_of(whole, *compared(whole))
    notes = [found.get("note", ""), f"without {', '.join(without)}" if without else ""]
    rows = table[table["modality"].isin(both)]
    return {
        **{name: 0 for name in COUNTS},
        **found,
        "modality": ALL_TOGETHER,
        "recognised": pooled(rows["recognised"].tolist(), rows["n_synthetic"].tolist()),
        "note": "; ".join(note for note in notes if note),
    }
