"""Distances between real and synthetic feature distributions, and how they are pooled."""

from collections.abc import Sequence
from math import isnan, nan

import numpy as np
import torch
from medmetric.metrics import FID, MMD

FEWEST = 2
"""scans on each side that a covariance and an unbiased MMD need"""


def distances(synthetic: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Return FID and MMD of two feature sets, float64 (n, d) and (m, d).

    Both by medmetric with its defaults: FID with unbiased covariances; MMD as the square root
    of the unbiased estimate clamped at 0, with seven Gaussian kernels of widths 1/8 ... 8
    times the median distance (paper, 2.5.7). NaN where either side has fewer than two rows.
    """
    if min(len(synthetic), len(real)) < FEWEST:
        return nan, nan
    made, truth = torch.from_numpy(synthetic), torch.from_numpy(real)
    return float(FID()(made, truth)), float(MMD()(made, truth))


def pooled(values: Sequence[float], counts: Sequence[int]) -> float:
    """Return the mean of per-modality `values` weighted by `counts`, as the paper's "overall".

    Undefined values (NaN) and their counts are left out; NaN when nothing is left.
    """
    known = [(value, count) for value, count in zip(values, counts, strict=True) if count]
    known = [(value, count) for value, count in known if not isnan(value)]
    total = sum(count for _, count in known)
    return sum(value * count for value, count in known) / total if total else nan
