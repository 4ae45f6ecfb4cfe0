"""Schedules and samplers against closed forms and MONAI."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.schedulers import RFlowScheduler
from monai.networks.schedulers.rectified_flow import timestep_transform

from wfdm.config.denoisers import RectifiedFlowSettings
from wfdm.processes.rflow import (
    noised,
    predicted,
    sampling_times,
    target,
    time_shift,
    training_times,
)
from wfdm.processes.samplers import euler

STUDY = (4, 48, 56, 40)
RFLOW = RectifiedFlowSettings()


# --- schedules ------------------------------------------------------------------------------


@given(st.floats(0, 1, allow_subnormal=False), st.integers(1, 10**7))
def test_time_shift_is_monais(t: float, voxels: int) -> None:
    """MONAI's function on times of 0 to 1000 is the oracle."""
    ours = time_shift(torch.tensor(t, dtype=torch.float64), voxels, 32768)
    assert math.isclose(float(ours), timestep_transform(1000 * t, voxels) / 1000, abs_tol=1e-12)


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_time_shift_keeps_ends_and_order(voxels: int, reference: int) -> None:
    shifted = time_shift(torch.linspace(0, 1, 20, dtype=torch.float64), voxels, reference)
    assert float(shifted[0]) == 0 and math.isclose(float(shifted[-1]), 1)
    assert bool((shifted.diff() > 0).all())


def test_times_are_monais_with_spatial_voxels() -> None:
    """MONAI rounds its times to half precision: 0.25 of 1000 is the most that may differ."""
    scheduler = RFlowScheduler(use_discrete_timesteps=False, use_timestep_transform=True)
    scheduler.set_timesteps(50, input_img_size_numel=48 * 56 * 40)
    ours = sampling_times(50, STUDY, RFLOW)
    assert len(ours) == 51 and ours[-1] == 0
    assert (1000 * ours[:-1] - scheduler.timesteps).abs().max() <= 0.25
    assert abs(1000 * float(ours[25]) - 597.7) < 0.1  # r = 1.486, not 2.359 with channels


# --- samplers -------------------------------------------------------------------------------


def test_interpolation_is_monais() -> None:
    x0, noise, t = torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 4, 4, 4), torch.tensor([0.3, 0.9])
    theirs = RFlowScheduler(use_discrete_timesteps=False).add_noise(x0, noise, 1000 * t)
    torch.testing.assert_close(noised(x0, noise, t, RFLOW), theirs)


def test_the_target_is_minus_the_paths_derivative() -> None:
    """d x_t / dt by central differences in double precision."""
    x0, noise = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    t, h = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), 1e-5
    slope = (noised(x0, noise, t + h, RFLOW) - noised(x0, noise, t - h, RFLOW)) / (2 * h)
    torch.testing.assert_close(target(x0, noise, t, RFLOW), -slope, rtol=0, atol=1e-8)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_the_linear_answer_is_the_best_one(t: float) -> None:
    """NumPy's least squares on a million pairs of unit-variance data and noise."""
    rng = np.random.default_rng(0)
    x0, noise = rng.standard_normal((2, 1_000_000))
    noisy = (1 - t) * x0 + t * noise
    (slope,), (squares,), *_ = np.linalg.lstsq(noisy[:, None], x0 - noise, rcond=None)
    one = torch.ones(1, 1, dtype=torch.float64)
    time = torch.tensor([t], dtype=torch.float64)
    assert float(predicted(0 * one, one, time, RFLOW)) == pytest.approx(slope, abs=0.005)
    assert squares / 1e6 == pytest.approx(1 / ((1 - t) ** 2 + t**2), rel=0.01)
    off = RectifiedFlowSettings(linear_answer=False)
    assert float(predicted(0 * one, one, time, off)) == 0


def test_training_and_sampling_share_their_times() -> None:
    """Uniform draws on the sampler's even grid give the sampler's times."""
    even = torch.linspace(1, 0, 51, dtype=torch.float64)
    assert torch.equal(training_times(even, STUDY, RFLOW), sampling_times(50, STUDY, RFLOW))


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_a_single_datum_is_reached_exactly(steps: int) -> None:
    """All paths to one x0 are straight, so Euler has no error at any number of steps."""
    x0 = torch.randn(2, 3, dtype=torch.float64)
    times = sampling_times(steps, STUDY, RFLOW)
    end = euler(lambda z, t: (x0 - z) / t, torch.randn_like(x0), times)
    torch.testing.assert_close(end, x0, rtol=0, atol=1e-12)


MEAN, DEVIATION = 1.5, 0.4


def gaussian_velocity(z: torch.Tensor, t: float) -> torch.Tensor:
    """E[x0 - noise | x_t = z] for data N(MEAN, DEVIATION**2), by Gaussian conditioning."""
    variance = (1 - t) ** 2 * DEVIATION**2 + t**2
    centred = (z - (1 - t) * MEAN) / variance
    return MEAN + (1 - t) * DEVIATION**2 * centred - t * centred


def gaussian_error(steps: int) -> float:
    """Error of Euler's end point; the exact flow maps noise e to MEAN + DEVIATION * e."""
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    end = euler(gaussian_velocity, start, sampling_times(steps, STUDY, RFLOW))
    return float((end - (MEAN + DEVIATION * start)).abs().max())


def test_gaussian_data_are_reached_at_first_order() -> None:
    errors = [gaussian_error(steps) for steps in (50, 100, 200, 400)]
    ratios = [late / early for early, late in pairwise(errors)]
    assert errors[0] < 0.05
    assert all(abs(ratio - 0.5) < 0.05 for ratio in ratios)
