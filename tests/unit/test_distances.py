"""FID, MMD, KID and their intervals against medmetric, closed forms, loops and simulation."""

import itertools
import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from medmetric.metrics import FID, MMD
from scipy import linalg

from wfdm.evaluation import discrepancy, frechet
from wfdm.evaluation.distribution import distances, published_distances, resampled
from wfdm.evaluation.resampling import around, counts_of, interval

SIZES = [(30, 40, 8), (6, 9, 64), (50, 300, 128), (40, 8, 16)]


def two_sets(n, m, d, offset=0.0, seed=0):
    """Correlated features, as a network gives: their spectrum falls over four decades."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) * np.logspace(0, -4, d)
    made, real = (rng.normal(size=(count, d)) @ mix + offset for count in (n, m))
    return made * 1.2 + 0.1, real


def by_medmetric(metric, made, real):
    return float(metric(torch.from_numpy(made), torch.from_numpy(real)))


@pytest.mark.parametrize("offset", [0.0, 30.0])
@pytest.mark.parametrize("size", SIZES)
def test_fid_and_mmd_equal_medmetrics(size, offset):
    made, real = two_sets(*size, offset)
    found = distances(made, real)
    assert found.fid == pytest.approx(by_medmetric(FID(), made, real), rel=1e-6)
    assert found.mmd == pytest.approx(by_medmetric(MMD(), made, real), rel=1e-6)
    assert published_distances(made, real).fid == found.fid
    width = np.median(_gaps(real)) if len(_gaps(real)) % 2 else sorted(_gaps(real))[_middle(real)]
    widths = [float(width) * 2.0**power for power in range(-3, 4)]
    assert found.mmd_fixed == pytest.approx(by_medmetric(MMD(sigmas=widths), made, real), rel=1e-6)


def _gaps(rows):
    return [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(rows, 2)]


def _middle(rows):
    return (len(rows) * (len(rows) - 1) // 2 - 1) // 2


def with_moments(n, mean, deviations, seed):
    """Samples whose mean and (diagonal) unbiased covariance are exactly as given."""
    raw = np.random.default_rng(seed).normal(size=(n, len(mean)))
    orthonormal, _ = np.linalg.qr(raw - raw.mean(0))
    return orthonormal * math.sqrt(n - 1) * deviations + mean


def test_fid_of_diagonal_gaussians():
    mean_a, sd_a = np.array([0.0, 1.0, 2.0, 5.0]), np.array([1.0, 0.5, 2.0, 0.1])
    mean_b, sd_b = np.array([0.5, 1.0, 1.0, 5.5]), np.array([0.7, 0.5, 1.0, 0.3])
    found = frechet.fid(with_moments(40, mean_a, sd_a, 1), with_moments(60, mean_b, sd_b, 2))
    assert found == pytest.approx(((mean_a - mean_b) ** 2).sum() + ((sd_a - sd_b) ** 2).sum())


def test_fid_of_correlated_sets_is_by_the_root_of_the_covariances():
    made, real = two_sets(60, 50, 6)
    a, b = np.cov(made, rowvar=False), np.cov(real, rowvar=False)
    root = np.trace(linalg.sqrtm(a @ b).real)
    apart = ((made.mean(0) - real.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root
    assert frechet.fid(made, real) == pytest.approx(apart, rel=1e-6)


def test_identical_sets_are_at_no_distance():
    same = np.random.default_rng(3).normal(size=(20, 8))
    found = distances(same, same.copy())
    assert found.fid == pytest.approx(0, abs=1e-6)
    assert found.mmd == found.mmd_fixed == 0


def naive(x, y, kernel):
    """The unbiased squared discrepancy, a pair at a time."""

    def within(z):
        return sum(kernel(p, q) for p, q in itertools.permutations(z, 2)) / (len(z) * (len(z) - 1))

    across = sum(kernel(p, q) for p in x for q in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


@pytest.mark.parametrize("block", [512, 4])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_mmd_and_kid_equal_the_sums_over_pairs(monkeypatch, offset, block):
    monkeypatch.setattr(discrepancy, "BLOCK", block)
    rng = np.random.default_rng(7)
    x = rng.normal(offset, 0.01, size=(9, 5))
    y = rng.normal(offset + 0.01, 0.01, size=(12, 5))
    median = sorted(_gaps([*x, *y]))[_middle([*x, *y])]
    widths = [median * 2.0**power for power in range(-3, 4)]

    def gaussians(p, q):
        return sum(math.exp(-(math.dist(p, q) ** 2) / (2 * w * w)) for w in widths) / 7

    assert naive(x, y, gaussians) > 0.01
    found = distances(x, y)
    assert found.mmd == pytest.approx(math.sqrt(naive(x, y, gaussians)), rel=1e-6)
    kid = naive(x - offset, y - offset, lambda p, q: (p @ q / 5 + 1) ** 3)
    assert distances(x - offset, y - offset).kid == pytest.approx(kid, rel=1e-6)


def test_kid_of_constant_sets_is_by_hand():
    # All kernels within a set are (a.a / 2 + 1)^3 = 8, (b.b / 2 + 1)^3 = 27, across 1.
    made, real = np.tile([1.0, 1.0], (3, 1)), np.tile([math.sqrt(2), -math.sqrt(2)], (4, 1))
    assert distances(made, real).kid == pytest.approx(8 + 27 - 2)


def test_too_few_scans_have_no_distribution():
    one, many = np.zeros((1, 4)), np.random.default_rng(0).normal(size=(5, 4))
    for pair in ((one, many), (many, one), (one[:0], many)):
        assert all(math.isnan(value) for value in astuple(distances(*pair)))


@pytest.mark.parametrize(("made", "real"), [(3, 2), (40, 3), (40, 60)])
def test_copies_of_one_volume_are_judged_as_any_other_set(made, real):
    """The modality's mean, over and over: no covariance, and most distances may be zero."""
    rng = np.random.default_rng(1)
    copies, scans = np.tile(rng.normal(size=20), (made, 1)), rng.normal(size=(real, 20))
    found = distances(copies, scans)
    assert all(math.isfinite(value) for value in astuple(found))
    apart = ((copies[0] - scans.mean(0)) ** 2).sum() + scans.var(0, ddof=1).sum()
    assert found.fid == pytest.approx(apart)
    assert found.mmd > 0.3


def test_resamples_are_sets_of_their_own():
    """FID of a resample is FID of the rows that are in it; MMD leaves copies of a row out."""
    made, real = two_sets(9, 12, 30)
    ours, theirs = counts_of(9, 3, 1, "a"), counts_of(12, 3, 1, "b")
    found = frechet.resampled_fid(made, real, ours, theirs)
    kernel = discrepancy.gaussian(discrepancy.median_distance(made, real))
    squared = discrepancy.discrepancies(made, real, kernel, ours, theirs)
    for place in range(3):
        a, b = made.repeat(ours[place], 0), real.repeat(theirs[place], 0)
        assert found[place] == pytest.approx(by_medmetric(FID(), a, b), rel=1e-5)
        assert squared[place] == pytest.approx(_without_copies(a, b, made, real), rel=1e-6)


def _without_copies(a, b, made, real):
    both = [*made, *real]
    median = sorted(_gaps(both))[_middle(both)]

    def kernel(p, q):
        powers = range(-3, 4)
        return sum(math.exp(-(math.dist(p, q) ** 2) / 2 / (median * 2.0**k) ** 2) for k in powers)

    def within(z):
        pairs = [(p, q) for p, q in itertools.permutations(z, 2) if not np.array_equal(p, q)]
        return sum(kernel(p, q) for p, q in pairs) / len(pairs)

    across = sum(kernel(p, q) for p in a for q in b) / (len(a) * len(b))
    return (within(a) + within(b) - 2 * across) / 7


def test_draws_lie_around_the_estimate():
    made, real = two_sets(20, 25, 40)
    found = distances(made, real)
    drawn = resampled(made, real, found, counts_of(20, 400, 1, "a"), counts_of(25, 400, 1, "b"))
    assert drawn.fid.mean() == pytest.approx(found.fid, rel=1e-2)
    low, high = interval(drawn.mmd)
    assert low < found.mmd < high
    assert all(map(math.isnan, interval(np.empty(0))))
    assert around(3.0, np.array([1.0, 2.0])).tolist() == [2.5, 3.5]


def test_counts_depend_on_their_names_and_numbers_alone():
    counts = counts_of(7, 1000, 3, "T1w", "real")
    assert counts.shape == (1000, 7) and (counts.sum(1) == 7).all()
    assert counts.mean(0) == pytest.approx(np.ones(7), abs=0.15)
    assert (counts == counts_of(7, 1000, 3, "T1w", "real")).all()
    assert (counts != counts_of(7, 1000, 3, "T1w", "synthetic")).any()
    assert counts_of(0, 5, 3, "T1w", "real").shape == (5, 0)


def test_intervals_hold_what_they_promise():
    """Of 120 cohorts, about 95 % of the intervals hold the mean metric at this many scans."""
    rng = np.random.default_rng(11)
    values, inside = [], []
    for cohort in range(120):
        made, real = rng.normal(0.3, 1, size=(40, 6)), rng.normal(0, 1.2, size=(40, 6))
        counts = (counts_of(40, 100, cohort, side) for side in ("made", "real"))
        found = published_distances(made, real)
        drawn = resampled(made, real, found, *counts)
        values.append([found.fid, found.mmd])
        inside.append([interval(drawn.fid), interval(drawn.mmd)])
    for place, truth in enumerate(np.mean(values, 0)):
        held = [each[place][0] <= truth <= each[place][1] for each in inside]
        assert 0.87 < np.mean(held) <= 1
