"""How much of a generator's score is the luck of its noise: several draws of samples of a model."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import nan
from pathlib import Path
from statistics import mean, stdev

import pandas as pd
from scipy import stats

from wfdm.tables.synthesis import FORMATS, METRICS, overall
from wfdm.tables.text import number

LEVEL = 0.95
NUMBERS = ("mean", "deviation", "low", "high")
COLUMNS = ("Metric", "Model", "Against", "draws", *NUMBERS)


def draws(
    families: Mapping[str, Sequence[Path | str]], labels: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return each model's metrics over its draws, and the differences between models.

    Args:
        families: CSV of `synthesis_metrics` of each draw, two or more, by the model's key.
        labels: what a model is called, by its key; by default its key.

    Returns:
        COLUMNS as text, metric by metric. Of a model: mean and unbiased deviation over its draws,
        and the 95 % interval of the mean by Student's t. Against another: the difference of the
        means and its interval by Welch's t. All of it tells of the noise of sampling alone: weights
        and test scans are the same in every draw.

    Raises:
        UserError: a file cannot be read, or has no pooled row.
    """
    called = {name: (labels or {}).get(name, name) for name in families}
    scores = {name: [overall(path) for path in paths] for name, paths in families.items()}
    rows = []
    for metric in METRICS:
        values = {name: [score[metric] for score in found] for name, found in scores.items()}
        found = [((called[name], "", str(len(own))), _alone(own)) for name, own in values.items()]
        for name, other in combinations(values, 2):
            counts = f"{len(values[name])}, {len(values[other])}"
            between = _between(values[name], values[other])
            found.append(((called[name], called[other], counts), between))
        for about, numbers in found:
            shown = [number(value, FORMATS[metric]) for value in numbers]
            rows.append([metric, *about, *shown])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _alone(values: Sequence[float]) -> tuple[float, ...]:
    """Return NUMBERS of one model."""
    ends = stats.ttest_1samp(values, 0).confidence_interval(LEVEL)
    return mean(values), stdev(values), float(ends.low), float(ends.high)


def _between(values: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    """Return NUMBERS of a difference; it has no deviation of its own."""
    ends = stats.ttest_ind(values, others, equal_var=False).confidence_interval(LEVEL)
    return mean(values) - mean(others), nan, float(ends.low), float(ends.high)
