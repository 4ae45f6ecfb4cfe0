"""The fixed wavelet references of table 3: the Haar transform as a compressor."""

import torch
from torch import Tensor

from wfdm.config.compressors import HaarTransform
from wfdm.models import haar
from wfdm.models.compressors.base import Compressor


class HaarCompressor(Compressor):
    """The transform itself, once or twice on all bands.

    No parameters; the latent is 8 channels at 1/2 (one level) or 64 at 1/4 (two), as many numbers
    as the volume has voxels.
    """

    def __init__(self, settings: HaarTransform) -> None:
        super().__init__(settings)
        self.levels, self.filters = settings.levels, settings.haar
        self.factor = 2**self.levels

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients of `v` (B, 1, D, H, W) and a standard deviation of zero."""
        self.check_divides(v)
        for _ in range(self.levels):
            v = haar.forward(v, self.filters)
        return v, torch.zeros_like(v)

    def decode(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W) of the coefficients `z`."""
        for _ in range(self.levels):
            z = haar.inverse(z, self.filters)
        return z
