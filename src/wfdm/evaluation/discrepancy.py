"""Kernel distances between two feature sets: MMD with Gaussian kernels, and KID.

Both are the unbiased estimate of the squared maximum mean discrepancy,

    mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j),

from sums over blocks of rows, so that no kernel of all scans is held in memory.
"""

from collections.abc import Callable, Iterator

import numpy as np

WIDTHS = 7
"""Gaussian kernels, of 1/8, 1/4, ..., 8 times one width, equally weighed (authors' medmetric)"""
SMALLEST = 1e-12
"""smallest width (authors' medmetric)"""
ROUNDING = 1e-13
"""a squared distance under this share of the two squared lengths is none: the rows are equal"""
BLOCK = 512
"""rows of a kernel in memory at once: at the study's size 44 MB"""

Rows = Callable[[slice], np.ndarray]
"""from b of N rows to a (b, N) array: these rows against all"""
Kernel = Callable[[np.ndarray], Rows]
"""from features (N, d) to the kernel between them"""


def median_distance(*sets: np.ndarray) -> float:
    """Return the (lower) median of the distances between any two different rows of the sets.

    At the study's size these are 58 million numbers: they are what takes the most memory.
    """
    features = np.concatenate(sets)
    between = squared_distances(features)
    total = len(features) * (len(features) - 1) // 2
    found, filled = np.empty(total), 0
    for rows in _blocks(len(features)):
        for row, squared in enumerate(between(rows), start=rows.start):
            after = squared[row + 1 :]
            found[filled : filled + len(after)] = after
            filled += len(after)
    middle = (total - 1) // 2
    found.partition(middle)
    return float(np.sqrt(found[middle]))


def squared_distances(features: np.ndarray) -> Rows:
    """Return |x_i - x_j|^2 between features, float64 (N, d)."""
    centred = features - features.mean(0)  # equal large parts would cost digits
    lengths = np.square(centred).sum(1)

    def between(rows: slice) -> np.ndarray:
        sums = lengths[rows, None] + lengths
        squared = sums - 2 * (centred[rows] @ centred.T)
        squared[squared < ROUNDING * sums] = 0
        return squared

    return between


def gaussian(width: float) -> Kernel:
    """Return the mean of the kernels exp(-|x - y|^2 / (2 s^2)), s = `width` times 1/8 ... 8."""
    widest = max(width * 2.0 ** (WIDTHS // 2), SMALLEST)

    def kernel(features: np.ndarray) -> Rows:
        between = squared_distances(features)

        def values(rows: slice) -> np.ndarray:
            power = np.exp(between(rows) / (-2 * widest**2))
            total = power.copy()
            for _ in range(WIDTHS - 1):
                np.square(power, out=power)  # half the width: to the fourth power
                np.square(power, out=power)
                total += power
            return total / WIDTHS

        return values

    return kernel


def polynomial(features: np.ndarray) -> Rows:
    """Return (x.y / d + 1)^3, the kernel of KID (Binkowski et al., 2018)."""
    return lambda rows: (features[rows] @ features.T / features.shape[1] + 1) ** 3


def discrepancies(
    made: np.ndarray,
    real: np.ndarray,
    kernel: Kernel,
    made_counts: np.ndarray,
    real_counts: np.ndarray,
) -> np.ndarray:
    """Return the squared discrepancy of two sets in each of their resamples, (B,).

    Args:
        made: float64 (n, d).
        real: float64 (m, d).
        kernel: of the features.
        made_counts: how often each row is in a resample, (B, n); ones for the set itself.
        real_counts: the same, (B, m).

    Two copies of one row are no pair: they would tell of a likeness that no two scans have. NaN
    where a resample has only one row, so often as it may be there.
    """
    x, y = (counts.astype(np.float64) for counts in (made_counts, real_counts))
    split, values = len(made), kernel(np.concatenate([made, real]))
    within_x, within_y, across = (np.zeros(len(x)) for _ in range(3))
    for rows in _blocks(split + len(real)):
        block = values(rows)
        numbers = np.arange(rows.start, rows.stop)
        block[np.arange(len(numbers)), numbers] = 0
        ours, theirs = numbers[numbers < split], numbers[numbers >= split] - split
        of_x, of_y = block[: len(ours)], block[len(ours) :, split:]
        within_x += (x[:, ours] @ of_x[:, :split] * x).sum(1)
        across += (x[:, ours] @ of_x[:, split:] * y).sum(1)
        within_y += (y[:, theirs] @ of_y * y).sum(1)
    with np.errstate(invalid="ignore"):
        inside = within_x / _pairs(x) + within_y / _pairs(y)
    return inside - 2 * across / (x.sum(1) * y.sum(1))


def discrepancy(made: np.ndarray, real: np.ndarray, kernel: Kernel) -> float:
    """Return the squared discrepancy of two sets, which may be below 0."""
    ones = np.ones((1, len(made))), np.ones((1, len(real)))
    return float(discrepancies(made, real, kernel, *ones)[0])


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, BLOCK):
        yield slice(start, min(start + BLOCK, rows))


def _pairs(counts: np.ndarray) -> np.ndarray:
    """Return how many ordered pairs of different rows there are, (B,)."""
    return np.square(counts.sum(1)) - np.square(counts).sum(1)
