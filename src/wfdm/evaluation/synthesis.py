"""The metrics of one generator: a row per modality and one for all (table 4)."""

from collections.abc import Sequence
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.evaluation import OVERALL
from wfdm.evaluation.distribution import FEWEST, distances, pooled
from wfdm.evaluation.diversity import read_scores, self_similarity
from wfdm.evaluation.features import Features, read_features

COLUMNS = (
    *("modality", "n_real", "n_synthetic"),
    *("FID", "FID low", "FID high"),
    *("MMD", "MMD low", "MMD high", "MMD fixed"),
    *("KID", "FID zscore-dataset", "MMD zscore-dataset"),
    *("MS-SSIM", "pairs", "recognised"),
    *("extractor", "extractor_sha256", "seed", "note"),
)


def synthesis_metrics(
    real_features: Sequence[Path],
    synthetic_features: Sequence[Path],
    pairs: Sequence[Path],
    seed: int,
) -> pd.DataFrame:
    """Judge one generator's samples against the real test scans.

    Args:
        real_features: of the test scans, the shards of `features.extract`.
        synthetic_features: of the samples, by the same network, with their nearest mean volumes.
        pairs: of the samples, the shards of `diversity.score_pairs`, in their order.
        seed: the study's, which the pairs were drawn by.

    Returns:
        COLUMNS, one row per modality in the order T1w, T2w, T1Gd, FLAIR, then "Overall": FID,
        MMD and MS-SSIM as means weighted by the real scans' counts (how the paper pools),
        `recognised` as the share of all samples.

    Raises:
        UserError: features of two networks, without nearest mean volumes, or of other samples
            than the pairs.
    """
    real, made = read_features(real_features), read_features(synthetic_features)
    scores = read_scores(pairs)
    _check(real, made, scores, str(synthetic_features[0]))
    asked, hits = np.array(made.modalities), np.equal(made.nearest, made.modalities)
    present = set(real.modalities) | set(made.modalities)
    rows = []
    for modality in (name for name in MODALITIES if name in present):
        ours = asked == modality
        fid, mmd = distances(made.of(modality), real.of(modality))
        similarity, count = self_similarity(scores, modality)
        rows.append(
            {
                "modality": modality,
                "n_real": real.modalities.count(modality),
                "n_synthetic": int(ours.sum()),
                "FID": fid,
                "MMD": mmd,
                "MS-SSIM": similarity,
                "pairs": count,
                "recognised": float(hits[ours].mean()) if ours.any() else nan,
            }
        )
    table = pd.DataFrame(rows)
    few = table[["n_real", "n_synthetic"]].min(axis=1) < FEWEST
    table["note"] = few.map({True: f"FID and MMD need {FEWEST} scans on each side", False: ""})
    table = pd.concat([table, pd.DataFrame([_overall(table)])], ignore_index=True)
    table = table.assign(extractor=real.extractor, extractor_sha256=real.digest, seed=seed)
    return table.reindex(columns=list(COLUMNS))


def _check(real: Features, made: Features, scores: pd.DataFrame, where: str) -> None:
    """Refuse features of different networks, without nearest means, and pairs of other samples."""
    for name in ("extractor", "digest", "intensity"):
        ours, theirs = getattr(made, name), getattr(real, name)
        if ours != theirs:
            raise UserError(
                f"{where}: {name} '{ours}' is not the real scans' '{theirs}'; extract both again"
            )
    if not all(made.nearest):
        raise UserError(f"{where}: made without mean volumes; extract the features again with them")
    if not set(scores["first"]) | set(scores["second"]) <= set(made.scan_ids):
        raise UserError(f"{where}: made from other samples than the pairs; score the pairs again")


def _overall(table: pd.DataFrame) -> dict[str, object]:
    """Pool the modalities' rows."""
    left_out = table.loc[table["FID"].isna(), "modality"]
    real, made = table["n_real"].tolist(), table["n_synthetic"].tolist()
    return {
        "modality": OVERALL,
        **{name: int(table[name].sum()) for name in ("n_real", "n_synthetic", "pairs")},
        **{name: pooled(table[name].tolist(), real) for name in ("FID", "MMD", "MS-SSIM")},
        "recognised": pooled(table["recognised"].tolist(), made),
        "note": f"FID and MMD without {', '.join(left_out)}" if len(left_out) else "",
    }
