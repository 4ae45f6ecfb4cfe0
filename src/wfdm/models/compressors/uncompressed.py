"""Volumes as WDM's and Med-DDPM's networks see them: compressors that compress nothing.

Both work on v' = 2v - 1 in [-1, 1]. WDM's eight subbands are orthonormal Haar's in alphabetical
order, L before H, a letter for each spatial axis; the first, the mean, is divided by 3 so that all
are of about one size (Friedrich et al. 2024, arXiv 2402.19043).
"""

import torch
from torch import Tensor

from wfdm.config import compressors
from wfdm.models import haar
from wfdm.models.compressors.base import Compressor

LOW = 3.0  # by which the mean subband is divided
SUBBANDS = 8
_ORDER = sorted(range(SUBBANDS), key=lambda band: haar.BANDS[band].replace("L", "0"))
_BACK = [_ORDER.index(band) for band in range(SUBBANDS)]


class Voxels(Compressor):
    """The volume itself, 2v - 1; no parameters."""

    factor = 1

    def __init__(self, settings: compressors.Voxels) -> None:
        super().__init__(settings)

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return 2v - 1 of `v` (B, 1, D, H, W), and a standard deviation of zero."""
        return 2 * v - 1, torch.zeros_like(v)

    def decode(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W) that `z` is."""
        return z / 2 + 0.5


class Subbands(Compressor):
    """WDM's subbands; no parameters, as many numbers as the volume has voxels."""

    factor = 2

    def __init__(self, settings: compressors.Subbands) -> None:
        super().__init__(settings)

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the subbands (B, 8, D/2, H/2, W/2) of 2v - 1, and a deviation of zero."""
        self.check_divides(v)
        seen = as_seen(2 * v - 1)
        return seen, torch.zeros_like(seen)

    def decode(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W) of the subbands `z`."""
        return as_image(z) / 2 + 0.5


def subbands(volume: Tensor) -> Tensor:
    """Return the orthonormal Haar subbands of (B, 1, D, H, W), (B, 8, D/2, H/2, W/2)."""
    return haar.forward(volume)[:, _ORDER]


def volume_of(bands: Tensor) -> Tensor:
    """Return the volume of which `subbands` made these."""
    return haar.inverse(bands[:, _BACK])


def as_seen(volume: Tensor) -> Tensor:
    """Return the subbands as WDM's network sees them: the mean one divided by 3."""
    return _scaled(subbands(volume), 1 / LOW)


def as_image(seen: Tensor) -> Tensor:
    """Return the volume of subbands that the network sees."""
    return volume_of(_scaled(seen, LOW))


def _scaled(bands: Tensor, low: float) -> Tensor:
    return torch.cat([bands[:, :1] * low, bands[:, 1:]], dim=1)
