"""Membership inference: does a denoiser's loss tell training scans from those never trained on?

A scan's loss is the mean of the training loss (2.5.4) over fixed times and fixed noises, so that
two scans of a modality differ by what they are alone. The attack calls a scan a training scan where
its loss is small; its AUC is

    AUC = P(loss of a training scan < loss of an unseen scan) + P(equal) / 2

within each modality, averaged by the number of pairs: 0.5 tells nothing, 1 all. Modalities differ
in their loss, and comparing across them would measure how often each was trained on.

The floor is the AUC of a network that answers nothing. Mean and deviation of the latents come from
the training scans, which are therefore nearer to 0 than others, whatever was learned.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from wfdm.evaluation.resampling import counts_of, interval

LOSS, FLOOR = "loss", "floor"
SCORED = ("scan_id", "person", "modality", "split", LOSS, FLOOR)
"""columns of the table of losses: a row for each scan"""


def within(training: pd.DataFrame, unseen: pd.DataFrame, by: str = LOSS) -> float:
    """Return the AUC; NaN where there is no pair of one modality.

    Args:
        training: SCORED of training scans.
        unseen: SCORED of scans that were not trained on.
        by: LOSS, or FLOOR.
    """
    wins, pairs = _compared(training, unseen, by)
    return float(wins.sum() / pairs.sum()) if pairs.any() else np.nan


def with_interval(
    training: pd.DataFrame, unseen: pd.DataFrame, resamples: int, seed: int, name: str
) -> tuple[float, float, float]:
    """Return the AUC and its 95 % interval, by resampling people: scans of one are no two draws.

    Args:
        training: SCORED of training scans.
        unseen: SCORED of scans that were not trained on.
        resamples: bootstrap resamples of the people on each side.
        seed: the study's.
        name: of the denoiser.
    """
    wins, pairs = _compared(training, unseen, LOSS)
    sides = (("training", training), ("unseen", unseen))
    mine, theirs = (_weights(part, resamples, seed, name, side) for side, part in sides)
    with np.errstate(invalid="ignore"):  # a resample may hold no pair of one modality
        draws = ((mine @ wins) * theirs).sum(1) / ((mine @ pairs) * theirs).sum(1)
    return (within(training, unseen), *interval(draws[np.isfinite(draws)]))


def _compared(
    training: pd.DataFrame, unseen: pd.DataFrame, by: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return of each pair whether the training scan's loss is smaller, and whether it counts.

    Both are float64 (n, m), a tie is half, and pairs of two modalities are 0.
    """
    first, second = (part[by].to_numpy()[:, None] for part in (training, unseen))
    kinds = [part["modality"].to_numpy()[:, None] for part in (training, unseen)]
    pairs = (kinds[0] == kinds[1].T).astype(np.float64)
    return pairs * ((first < second.T) + (first == second.T) / 2), pairs


def _weights(scans: pd.DataFrame, resamples: int, seed: int, *names: str) -> np.ndarray:
    """Return how often each scan is in each resample of its people, float64 (resamples, n)."""
    people, of = np.unique(scans["person"], return_inverse=True)
    return counts_of(len(people), resamples, seed, "membership", *names)[:, of].astype(np.float64)


def by_copies(
    scores: pd.DataFrame, copies: Mapping[str, int], unseen: pd.DataFrame
) -> pd.DataFrame:
    """Return, for each number of copies, how well the loss tells these scans from unseen ones.

    Args:
        scores: SCORED of training scans.
        copies: how often a planted scan stood in training, by scan_id; 0 stands for all others.
        unseen: SCORED of scans that were not trained on.

    Returns:
        copies, n, AUC, AUC floor, found: scans whose loss is below that of every unseen one of
        their modality.
    """
    least = unseen.groupby("modality")["loss"].min()
    below = scores["loss"] < scores["modality"].map(least)
    table = scores.assign(copies=scores["scan_id"].map(copies).fillna(0).astype(int), below=below)
    rows = [
        {
            "copies": count,
            "n": len(own),
            "AUC": within(own, unseen),
            "AUC floor": within(own, unseen, FLOOR),
            "found": own["below"].sum(),
        }
        for count, own in table.groupby("copies")
    ]
    return pd.DataFrame(rows)
