"""Distances between real and synthetic feature distributions, and how they are pooled."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan, nan, sqrt

import numpy as np

from wfdm.evaluation.discrepancy import (
    discrepancies,
    discrepancy,
    gaussian,
    median_distance,
    polynomial,
)
from wfdm.evaluation.frechet import fid, resampled_fid
from wfdm.evaluation.resampling import around

FEWEST = 2
"""scans on each side that a covariance and an unbiased MMD need"""


@dataclass(frozen=True)
class Published:
    """The paper's two distances (2.5.7), by medmetric's defaults; NaN of too few scans."""

    fid: float = nan
    squared_mmd: float = nan
    """the unbiased estimate, which may be below 0"""
    width: float = nan
    """of MMD's kernel: the median distance between any two scans of either set"""

    @property
    def mmd(self) -> float:
        """The root of its square, which counts as 0 where it is below."""
        return _root(self.squared_mmd)


@dataclass(frozen=True)
class Distances(Published):
    """Further ones beside them."""

    mmd_fixed: float = nan
    """MMD with the median distance of the real scans as its width: the same for every generator"""
    kid: float = nan
    """may be below 0"""


@dataclass(frozen=True)
class Draws:
    """FID and MMD of B resamples, moved to lie around those of the sets; empty: none."""

    fid: np.ndarray = field(default_factory=lambda: np.empty(0))
    mmd: np.ndarray = field(default_factory=lambda: np.empty(0))


def published_distances(made: np.ndarray, real: np.ndarray) -> Published:
    """Return FID and MMD of two feature sets, float64 (n, d) and (m, d)."""
    if min(len(made), len(real)) < FEWEST:
        return Published()
    width = median_distance(made, real)
    return Published(fid(made, real), discrepancy(made, real, gaussian(width)), width)


def distances(made: np.ndarray, real: np.ndarray) -> Distances:
    """Return all distances of two feature sets, float64 (n, d) and (m, d)."""
    if min(len(made), len(real)) < FEWEST:
        return Distances()
    fixed = _root(discrepancy(made, real, gaussian(median_distance(real))))
    kid = discrepancy(made, real, polynomial)
    return Distances(**vars(published_distances(made, real)), mmd_fixed=fixed, kid=kid)


def resampled(
    made: np.ndarray,
    real: np.ndarray,
    found: Published,
    made_counts: np.ndarray,
    real_counts: np.ndarray,
) -> Draws:
    """Return FID and MMD of resamples of two feature sets.

    MMD's squares, which have no bias, are what is moved. Its width stays that of the whole sets.

    Args:
        made: float64 (n, d).
        real: float64 (m, d).
        found: their distances.
        made_counts: how often each row is in each resample, (B, n).
        real_counts: likewise, (B, m).
    """
    counts = made_counts, real_counts
    squares = discrepancies(made, real, gaussian(found.width), *counts)
    fids = around(found.fid, resampled_fid(made, real, *counts)).clip(min=0)
    return Draws(fids, np.sqrt(around(found.squared_mmd, squares).clip(min=0)))


def pooled(values: Sequence[float], counts: Sequence[int]) -> float:
    """Return the mean of per-modality `values` weighted by `counts`, as the paper's "overall".

    Undefined values (NaN) and their counts are left out; NaN when nothing is left.
    """
    known = [(value, count) for value, count in zip(values, counts, strict=True) if count]
    known = [(value, count) for value, count in known if not isnan(value)]
    total = sum(count for _, count in known)
    return sum(value * count for value, count in known) / total if total else nan


def _root(squared: float) -> float:
    return nan if isnan(squared) else sqrt(max(squared, 0.0))
