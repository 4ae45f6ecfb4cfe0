"""Voxels and subbands as compressors: nothing is lost, and nothing is learned."""

import pytest
import torch

from wfdm.config.compressors import Architecture, Subbands, Voxels
from wfdm.models.compressors.registry import build


@pytest.mark.parametrize("architecture", [Voxels(kind="voxels"), Subbands(kind="subbands")])
def test_nothing_is_lost_and_nothing_is_learned(architecture: Architecture) -> None:
    model = build(architecture)
    volume = torch.rand((2, 1, 8, 6, 4), generator=torch.Generator().manual_seed(0))
    mean, deviation = model.encode(volume)
    assert mean[0].numel() == volume[0].numel() and not deviation.any()
    assert [side * model.factor for side in mean.shape[2:]] == [8, 6, 4]
    torch.testing.assert_close(model.decode(mean), volume, rtol=0, atol=1e-6)
    assert not list(model.parameters())


def test_subbands_are_of_the_symmetric_volume_and_a_third_of_its_mean() -> None:
    """The Haar mean of 8 equal voxels v is sqrt(8) v; a ramp of slope 1 differs by -1 in pairs."""
    model = build(Subbands(kind="subbands"))
    flat = model.encode(torch.full((1, 1, 2, 2, 2), 0.75))[0].flatten()
    torch.testing.assert_close(flat, torch.tensor([0.5 * 8**0.5 / 3, *[0.0] * 7]))
    along_last = torch.zeros(1, 1, 2, 2, 2)
    along_last[..., 1] = 1
    bands = model.encode(along_last)[0].flatten()
    # LLH, the second in alphabetical order: 4 pairs of (-1) - 1, over sqrt(8).
    torch.testing.assert_close(bands, torch.tensor([0.0, -8 / 8**0.5, *[0.0] * 6]))
