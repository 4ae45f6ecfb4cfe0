import numpy as np
import pytest
import pywt
import torch
from brainmint.models.blocks.haar_wavelet_fusion import (
    HaarWaveletTransform3D,
    InverseHaarWaveletTransform3D,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from wfdm.config.compressors import HaarTransform
from wfdm.errors import UserError
from wfdm.models import haar
from wfdm.models.compressors.haar_transform import HaarCompressor

sizes = st.tuples(*[st.integers(1, 4).map(lambda half: 2 * half)] * 3)


def volume(shape, channels=2, batch=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, channels, *shape), generator=generator, dtype=dtype)


@settings(max_examples=10)
@given(shape=sizes, channels=st.integers(1, 3), seed=st.integers(0, 999))
def test_the_inverse_restores_and_energy_is_kept(shape, channels, seed):
    x = volume(shape, channels, 2, seed)
    c = haar.forward(x)
    assert c.shape == (2, 8 * channels, *(size // 2 for size in shape))
    torch.testing.assert_close(haar.inverse(c), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(c.square().sum(), x.square().sum())


@pytest.mark.parametrize("index, band", list(enumerate(haar.BANDS)))
def test_each_band_is_pywavelets_up_to_the_sign_convention(index, band):
    x = volume((4, 6, 8), channels=2)
    ours = haar.forward(x)[0].unflatten(0, (8, 2))[index]
    for channel in range(2):
        bands = pywt.dwtn(x[0, channel].numpy(), "haar")
        # PyWavelets' high-pass is first minus second too; a is low, d is high.
        theirs = bands[band.replace("L", "a").replace("H", "d")]
        np.testing.assert_allclose(ours[channel], theirs, atol=1e-12)


def test_rounded_filters_are_the_authors_transform():
    x = volume((6, 8, 10), channels=3, dtype=torch.float32)
    theirs = HaarWaveletTransform3D()(x)
    torch.testing.assert_close(haar.forward(x, "rounded"), theirs, rtol=1e-5, atol=1e-6)
    back = InverseHaarWaveletTransform3D()(theirs)
    torch.testing.assert_close(haar.inverse(theirs, "rounded"), back, rtol=1e-5, atol=1e-6)


def test_rounding_has_the_gain_the_paper_shows():
    x = volume((8, 8, 8))
    for levels, gain in ((1, 1.00026368), (2, 1.00052743)):
        settings_ = HaarTransform(kind="haar", levels=levels, haar="rounded")
        compressor = HaarCompressor(settings_)
        z, _ = compressor.encode(x)
        torch.testing.assert_close(compressor.decode(z), gain * x, rtol=1e-7, atol=0)


def test_gradients_flow_both_ways():
    x = volume((2, 4, 2)).requires_grad_()
    assert torch.autograd.gradcheck(haar.forward, (x,))
    c = haar.forward(x).detach().requires_grad_()
    assert torch.autograd.gradcheck(haar.inverse, (c,))


@pytest.mark.parametrize("levels", [1, 2])
def test_the_fixed_compressor_is_lossless(levels):
    compressor = HaarCompressor(HaarTransform(kind="haar", levels=levels))
    x = volume((8, 12, 4), channels=1)
    mean, std = compressor.encode(x)
    assert mean.shape == (1, 8**levels, *(size // 2**levels for size in (8, 12, 4)))
    assert not std.any()
    assert not list(compressor.parameters())
    torch.testing.assert_close(compressor.decode(mean), x, rtol=0, atol=1e-12)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="odd"):
        haar.forward(torch.zeros(1, 1, 4, 5, 4))
    compressor = HaarCompressor(HaarTransform(kind="haar", levels=2))
    with pytest.raises(UserError, match=r"4x6x4 voxels .* multiple of 4"):
        compressor.encode(torch.zeros(1, 1, 4, 6, 4))
