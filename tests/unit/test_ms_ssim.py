"""MS-SSIM of pairs against medmetric, by other arithmetic."""

import itertools

import pytest
import torch
from medmetric.metrics import MS_SSIM
from monai.metrics import regression
from torch.nn import functional

from wfdm.evaluation import ms_ssim as ours
from wfdm.evaluation.ms_ssim import ms_ssim_kernel

SHAPES = [(48, 48, 48), (64, 80, 64), (96, 112, 81)]


def volume(shape, seed, smooth=1):
    """Structure at some scale, in [0, 1]."""
    drawn = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed))
    wide = functional.avg_pool3d(drawn, 2 * smooth + 1, stride=1, padding=smooth)
    return (wide - wide.min()) / (wide.max() - wide.min())


def head(shape, seed):
    """An ellipsoid in a dark field, its tissue darker in the middle: like any other at first."""
    sides = (torch.linspace(-1, 1, side) for side in shape)
    radius = sum(axis.square() for axis in torch.meshgrid(*sides, indexing="ij")).sqrt()
    tissue = 0.4 + 0.3 * torch.sigmoid((radius - 0.3 - 0.02 * seed) / 0.05)
    return (tissue + 0.6 * (volume(shape, seed) - 0.5)).clamp(0, 1) * (radius < 0.8)


@pytest.mark.parametrize("shape", SHAPES)
def test_ms_ssim_of_a_pair_is_medmetrics(shape, monkeypatch):
    """As it is in double precision, and as near as single precision brings medmetric to that."""
    window = ms_ssim_kernel(shape)
    for first, second in itertools.combinations([head(shape, seed) for seed in range(4)], 2):
        theirs = float(MS_SSIM(spatial_dims=3, kernel_size=window)(first, second))
        assert 0.3 < theirs < 0.98
        found = ours.ms_ssim(*(ours.scales(each, window) for each in (first, second)))
        assert found == pytest.approx(theirs, rel=5e-6)
        with monkeypatch.context() as patched:
            patched.setattr(regression, "convert_data_type", lambda x, **_: (x, None, None))
            exact = MS_SSIM(spatial_dims=3, kernel_size=window)(first.double(), second.double())
        precise = (ours.scales(each.double(), window) for each in (first, second))
        assert ours.ms_ssim(*precise) == pytest.approx(float(exact), rel=1e-6)
        assert found == pytest.approx(float(exact), rel=2e-6)


def test_ms_ssim_of_noise_loses_no_more_to_single_precision_than_medmetrics():
    drawn = torch.Generator().manual_seed(3)
    first, second = (torch.rand((1, 1, *SHAPES[0]), generator=drawn) for _ in range(2))
    theirs = float(MS_SSIM(spatial_dims=3, kernel_size=3)(first, second))
    single, double = (
        ours.ms_ssim(*(ours.scales(each.to(kind), 3) for each in (first, second)))
        for kind in (torch.float32, torch.float64)
    )
    assert single == pytest.approx(theirs, rel=1e-4)
    assert single == pytest.approx(double, rel=1e-5)
    assert abs(single - double) < abs(theirs - double)


def test_a_volume_is_like_itself_and_unlike_its_negative():
    window = ms_ssim_kernel(SHAPES[0])
    first = volume(SHAPES[0], 1)
    own = ours.scales(first, window)
    assert ours.ms_ssim(own, own) == pytest.approx(1, abs=1e-6)
    assert ours.ms_ssim(own, ours.scales(1 - first, window)) == 0  # relu of what is below 0


def test_window_means_are_convolutions_inside_the_volume():
    drawn = volume((20, 24, 22), 5)
    weights = torch.exp(-(torch.arange(-3.0, 4) ** 2) / (2 * 1.5**2))
    weights = weights / weights.sum()
    cube = weights[:, None, None] * weights[:, None] * weights
    expected = functional.conv3d(drawn, cube[None, None])
    torch.testing.assert_close(ours.blurred(drawn, 7), expected, atol=1e-6, rtol=0)
