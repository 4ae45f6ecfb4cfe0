"""What changes in a generator's samples when one field of the metadata does, beside real scans.

Samples are paired: of each noise there is one for each value, so the effect of a field is found
within each noise, and its interval is Student's over the noises. Real people are not paired: their
effect is a regression's, or the difference of two groups (Welch).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from wfdm.evaluation import control_columns as c
from wfdm.evaluation.controls import SAMPLES, TEST, TRAIN, TRUTH
from wfdm.evaluation.resampling import interval
from wfdm.seeds import generator_for

PER = 10.0
"""of a field's own unit: a slope is told per decade"""
SHUFFLES = 1000
LEVEL = 0.95
Effect = tuple[float, float, float, float, int]
"""value, low and high end of its 95 % interval, Pearson's r (NaN where there is none), n"""
NONE = float("nan")


def effects(
    measured: pd.DataFrame,
    measures: Sequence[str],
    field: str,
    values: Sequence[float | str],
    seed: int,
) -> list[dict[str, Any]]:
    """Return the rows of one field: each measure's effect in samples, real scans and nulls.

    Args:
        measured: of `controls.of_fields`.
        measures: the columns.
        field: that varies.
        values: that were asked for; of a category each later one is compared with the first.
        seed: the study's.

    Returns:
        dicts of `control_columns.COLUMNS`.
    """
    table = measured[measured["field"] == field]
    rows = []
    for quantity in measures:
        for name, unit, part in _contrasts(table, field, values):
            for of, effect in _found(part, quantity, name, seed):
                told = (field, quantity, unit, of, *effect)
                rows.append(dict(zip(c.COLUMNS, told, strict=True)))
    return rows


def _contrasts(
    table: pd.DataFrame, field: str, values: Sequence[float | str]
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield the seed's name, the unit, and the volumes with `x`: a number; NaN is not told."""
    if not any(isinstance(value, str) for value in values):
        unit = "mL per decade" if field == "age" else f"mL per {PER:g}"
        yield field, unit, table.assign(x=pd.to_numeric(table["value"]) / PER)
        return
    first, *others = map(str, values)
    for other in others:
        x = table["value"].map({first: 0.0, other: 1.0})
        part = table.assign(x=x)[x.notna() | (table["value"] == "")]
        yield f"{field} {other}", f"mL, {other} - {first}", part


def _found(
    table: pd.DataFrame, quantity: str, name: str, seed: int
) -> Iterator[tuple[str, Effect]]:
    """Yield whose effect it is, and the effect."""
    samples = table[table["kind"] == SAMPLES]
    told, alike = samples[samples["x"].notna()], samples[samples["x"].isna()]
    yield c.TOLD, paired(told, quantity)
    levels = sorted(told["x"].unique())
    # Without the field all samples of a noise are one. Each noise is given one of the values.
    given = alike.sort_values("draw").assign(x=np.resize(levels, len(alike)))
    yield c.ALIKE, unpaired(given["x"], given[quantity])
    means = told.groupby("draw")[quantity].mean() - alike.set_index("draw")[quantity]
    yield c.BIT, (*_student(means.to_numpy()), NONE, len(means))
    if (table["kind"] == TRUTH).any():
        yield c.TRUTH, paired(table[table["kind"] == TRUTH], quantity)
    for of, kind in ((c.TEST, TEST), (c.TRAIN, TRAIN)):
        real = table[(table["kind"] == kind) & table["x"].notna()]
        yield of, unpaired(real["x"], real[quantity])
    yield c.SHUFFLED, shuffled(real["x"], real[quantity], seed, name, quantity)


def paired(samples: pd.DataFrame, quantity: str) -> Effect:
    """Return the mean over draws of each one's own slope of a quantity on `x`."""
    wide = samples.pivot(index="draw", columns="x", values=quantity)
    x = wide.columns.to_numpy(float) - wide.columns.to_numpy(float).mean()
    slopes = wide.to_numpy() @ x / (x @ x)
    return (*_student(slopes), correlation(samples["x"], samples[quantity]), len(samples))


def unpaired(x: pd.Series, y: pd.Series) -> Effect:
    """Return the slope of y on x, or the difference of two groups that x tells (Welch)."""
    n = len(x)
    levels = sorted(x.unique())
    if levels == [0.0, 1.0]:
        low, high = y[x == 0], y[x == 1]
        value, fewest = float(high.mean() - low.mean()), min(len(low), len(high))
        if fewest < 2:
            return value, NONE, NONE, NONE, n
        ends = stats.ttest_ind(high, low, equal_var=False).confidence_interval(LEVEL)
        return value, float(ends.low), float(ends.high), correlation(x, y), n
    if n < 3 or len(levels) < 2:
        return NONE, NONE, NONE, NONE, n
    fit = stats.linregress(x, y)
    reach = stats.t.ppf((1 + LEVEL) / 2, n - 2) * fit.stderr
    return float(fit.slope), float(fit.slope - reach), float(fit.slope + reach), fit.rvalue, n


def shuffled(x: pd.Series, y: pd.Series, seed: int, *names: str) -> Effect:
    """Return the mean effect, and its 95 % interval, when each scan has another one's value."""
    if len(x) < 3 or x.nunique() < 2:
        return NONE, NONE, NONE, NONE, len(x)
    drawn = generator_for(seed, "controllability", "shuffled", *names)
    centred = x.to_numpy(float) - x.mean()
    orders = drawn.permuted(np.tile(centred, (SHUFFLES, 1)), axis=1)
    # A slope on 0 and 1 is the difference of the two groups' means.
    slopes = orders @ y.to_numpy(float) / (centred @ centred)
    return float(slopes.mean()), *interval(slopes), NONE, len(x)


def correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Return Pearson's r of two lists of numbers; NaN where either is constant."""
    constant = min(len(np.unique(each)) for each in (x, y)) < 2
    return NONE if constant else float(stats.pearsonr(x, y).statistic)


def _student(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean and its interval."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, NONE, NONE
    reach = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return mean, mean - float(reach), mean + float(reach)
