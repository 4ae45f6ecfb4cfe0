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
    mmd: float = nan
    """with the median distance between any two scans of either set as its width"""


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
    return Published(fid(made, real), _mmd(made, real, median_distance(made, real)))


def distances(made: np.ndarray, real: np.ndarray) -> Distances:
    """Return all distances of two feature sets, float64 (n, d) and (m, d)."""
    if min(len(made), len(real)) < FEWEST:
        return Distances()
    published = published_distances(made, real)
    fixed = _mmd(made, real, median_distance(real))
    return Distances(published.fid, published.mmd, fixed, discrepancy(made, real, polynomial))


def resampled(
    made: np.ndarray, real: np.ndarray, made_counts: np.ndarray, real_counts: np.ndarray
) -> Draws:
    """Return FID and MMD of resamples, given how often each row is in each: (B, n), (B, m).

    MMD's squares, which have no bias, are what is moved. Its width stays that of the whole sets.
    """
    counts = made_counts, real_counts
    kernel = gaussian(median_distance(made, real))
    squared = discrepancies(made, real, kernel, *counts)
    fids = around(fid(made, real), resampled_fid(made, real, *counts))
    squares = around(discrepancy(made, real, kernel), squared)
    return Draws(fids.clip(min=0), np.sqrt(squares.clip(min=0)))


def pooled(values: Sequence[float], counts: Sequence[int]) -> float:
    """Return the mean of per-modality `values` weighted by `counts`, as the paper's "overall".

    Undefined values (NaN) and their counts are left out; NaN when nothing is left.
    """
    known = [(value, count) for value, count in zip(values, counts, strict=True) if count]
    known = [(value, count) for value, count in known if not isnan(value)]
    total = sum(count for _, count in known)
    return sum(value * count for value, count in known) / total if total else nan


def _mmd(made: np.ndarray, real: np.ndarray, width: float) -> float:
    """Return the root of the unbiased estimate, which may be below 0."""
    return sqrt(max(discrepancy(made, real, gaussian(width)), 0.0))
