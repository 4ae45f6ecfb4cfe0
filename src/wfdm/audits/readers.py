"""Readers: what a linear model of a scan's features says of age, sex or another field.

One is trained on real scans and reads samples: does it see what was asked for? Another is trained
on samples and reads real scans: do they teach what is true? And a reader of the recorded bits alone
tells whether they give the dataset away.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from wfdm.audits.controllability import correlation
from wfdm.evaluation import control_columns as c
from wfdm.evaluation.controls import SAMPLES, TEST, TRAIN
from wfdm.evaluation.resampling import FEWEST_RESAMPLED, counts_of, interval
from wfdm.seeds import generator_for

PENALTIES = np.logspace(-3, 5, 33)
RESAMPLES = 1000
SHUFFLES = 100
"""readers that are trained on shuffled values"""
Score = Callable[[np.ndarray, np.ndarray], float]


def ridge(features: np.ndarray, y: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return what a ridge regression reads in `seen` (m, d), trained on `features` (n, d) and y.

    Features are scaled by the training scans' deviations. The penalty is the one of PENALTIES whose
    leave-one-out error is least, by its closed form: e_i / (1 - h_ii).
    """
    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread == 0] = 1
    x, new, mean = (features - centre) / spread, (seen - centre) / spread, y.mean()
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    projected = u.T @ (y - mean)

    def left_out(penalty: float) -> float:
        shrunk = s**2 / (s**2 + penalty)
        leverage = 1 / len(y) + (u**2 @ shrunk)
        error = (y - mean - u @ (shrunk * projected)) / np.maximum(1 - leverage, 1e-9)
        return float(error @ error)

    penalty = min(PENALTIES, key=left_out)
    return np.asarray(mean + new @ (vt.T @ (s / (s**2 + penalty) * projected)))


def mean_error(read: np.ndarray, true: np.ndarray) -> float:
    """Return the mean absolute error."""
    return float(np.abs(read - true).mean())


def slope(read: np.ndarray, true: np.ndarray) -> float:
    """Return the slope of what is read on what is true; NaN where that is constant."""
    if not np.ptp(read):
        return 0.0
    centred = true - true.mean()
    return float(read @ centred / (centred @ centred)) if centred.any() else float("nan")


def auc(read: np.ndarray, true: np.ndarray) -> float:
    """Return the area under the ROC curve of a score for 1 against 0; NaN without both."""
    one, zero = read[true == 1], read[true == 0]
    if not len(one) or not len(zero):
        return float("nan")
    return float(stats.mannwhitneyu(one, zero).statistic / (len(one) * len(zero)))


def readings(
    scans: pd.DataFrame, features: np.ndarray, field: str, values: Sequence[float | str], seed: int
) -> list[dict[str, Any]]:
    """Return the rows of readers of one field: samples, real scans, and what sees neither.

    A number is read as it is, a category as its first value against the second.

    Args:
        scans: of `controls.of_fields`, of this field alone.
        features: (n, d), of the same volumes.
        field: that is read.
        values: that were asked for.
        seed: the study's.
    """
    number = not any(isinstance(value, str) for value in values)
    target = (
        pd.to_numeric(scans["value"], errors="coerce")
        if number
        else scans["value"].map({str(values[0]): 0.0, str(values[1]): 1.0})
    ).to_numpy(float)
    known = ~np.isnan(target)
    is_ = {kind: known & (scans["kind"] == kind).to_numpy() for kind in (TRAIN, TEST, SAMPLES)}
    if any(len(set(target[each])) < 2 for each in is_.values()):
        return []
    learn = {kind: (features[each], target[each]) for kind, each in is_.items()}
    (known_x, known_y), (test_x, test_y) = learn[TRAIN], learn[TEST]
    drawn = generator_for(seed, "controllability", "readers", field)
    mixed = [ridge(known_x, drawn.permutation(known_y), test_x) for _ in range(SHUFFLES)]
    read = {
        c.READ: (SAMPLES, ridge(known_x, known_y, learn[SAMPLES][0])),
        c.BACK: (TEST, ridge(*learn[SAMPLES], test_x)),
        c.CEILING: (TEST, ridge(known_x, known_y, test_x)),
        c.GUESS: (TEST, np.full(len(test_y), known_y.mean())),
    }
    scores: dict[str, tuple[str, Score]] = {
        "mean absolute error": ("years" if field == "age" else "", mean_error),
        "slope of what is read": ("", slope),
    }
    rows = []
    for name, (unit, score) in (
        scores if number else {"area under the ROC curve": ("", auc)}
    ).items():
        told = {
            of: _scored(score, said, learn[kind][1], scans[is_[kind]]["draw"], seed)
            for of, (kind, said) in read.items()
        }
        null = np.array([score(each, test_y) for each in mixed])
        told[c.MIXED] = (float(null.mean()), *interval(null), float("nan"), len(test_y))
        about = (field, f"{field} read: {name}", unit)
        rows += [
            dict(zip(c.COLUMNS, (*about, of, *found), strict=True)) for of, found in told.items()
        ]
    return rows


def _scored(
    score: Score, read: np.ndarray, true: np.ndarray, draws: pd.Series, seed: int
) -> tuple[float, float, float, float, int]:
    """Return a score, its bootstrap interval (a noise is drawn as a whole), Pearson's r and n."""
    value = score(read, true)
    names = draws.to_numpy(str)
    groups = [[place] for place in range(len(names))]
    if names.any():
        groups = [list(np.flatnonzero(names == name)) for name in dict.fromkeys(names)]
    low = high = float("nan")
    if len(groups) >= FEWEST_RESAMPLED:
        resampled = []
        for counts in counts_of(len(groups), RESAMPLES, seed, "readers"):
            chosen = [p for group, times in zip(groups, counts, strict=True) for p in group * times]
            resampled.append(score(read[chosen], true[chosen]))
        low, high = interval(np.array(resampled))
    return value, low, high, correlation(read, true), len(read)


def of_mask(recorded: np.ndarray, datasets: Sequence[str], test: np.ndarray) -> Iterator[dict]:
    """Yield the rows on whether the recorded bits alone tell the dataset.

    A test person's dataset is said to be the one that most training people of the nearest pattern
    of bits (Hamming) are of; the floor says the largest dataset to all. Intervals are Clopper's and
    Pearson's.

    Args:
        recorded: (n, 25) bool, of one scan of each person.
        datasets: of each.
        test: (n,) bool, which are of the test split; the others are of the training split.
    """
    names = np.array(datasets)
    train, asked = recorded[~test], recorded[test]
    said = []
    for bits in asked:
        away = (train != bits).sum(axis=1)
        said.append(_most(names[~test][away == away.min()]))
    largest = [_most(names[~test])] * len(asked)
    for of, told in ((c.CEILING, said), (c.GUESS, largest)):
        right = int((np.array(told) == names[test]).sum())
        ends = stats.binomtest(right, len(asked)).proportion_ci()
        share = right / len(asked)
        row = (c.MASK, "dataset told: share", "", of, share, ends.low, ends.high, float("nan"))
        yield dict(zip(c.COLUMNS, (*row, len(asked)), strict=True))


def _most(names: np.ndarray) -> str:
    """Return the most frequent name, of equals the first by letters."""
    found, counts = np.unique(names, return_counts=True)
    return str(found[np.argmax(counts)])
