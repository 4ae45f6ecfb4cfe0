"""The 3D Haar wavelet transform W of equation 4 and its inverse, as sums and differences.

Band order is the authors' for the wavelet-fusion models: LLL, LLH, LHL, HLL, LHH, HLH, HHL, HHH,
so that S(.) of equation 6 is the first four. (Equation 4 itself lists LHH before HLL.) A letter
stands for one spatial axis, in the tensor's order; H is the first sample minus the second, the
sign of the authors' code. Channels are packed band by band: all LLL, then all LLH, and so on.
"""

from typing import Literal

import torch
from torch import Tensor

Filters = Literal["exact", "rounded"]

BANDS = ("LLL", "LLH", "LHL", "HLL", "LHH", "HLH", "HHL", "HHH")
# Splitting axis by axis yields the bands in alphabetical order, L before H.
_SPLIT = tuple(sorted(BANDS, key=lambda band: band.replace("L", "0")))
_TO_BANDS = tuple(_SPLIT.index(band) for band in BANDS)
_TO_SPLIT = tuple(BANDS.index(band) for band in _SPLIT)
ENTRY = {"exact": 8**-0.5, "rounded": 0.3536}


def forward(x: Tensor, filters: Filters = "exact") -> Tensor:
    """Return the eight subbands of `x`.

    Args:
        x: (B, C, D, H, W), all three sizes even.
        filters: entries 1/sqrt(8), which makes the transform orthonormal, or 0.3536 as in the
            authors' code, whose round trip has a gain of 1.00026.

    Returns:
        (B, 8 C, D/2, H/2, W/2).

    Raises:
        ValueError: a size is odd.
    """
    if any(size % 2 for size in x.shape[2:]):
        raise ValueError(
            f"the Haar transform halves each side; {tuple(x.shape[2:])} has an odd one"
        )
    parts = [x]
    for axis in (2, 3, 4):
        pairs = [part.unflatten(axis, (-1, 2)).unbind(axis + 1) for part in parts]
        parts = [band for first, second in pairs for band in (first + second, first - second)]
    return torch.cat([parts[index] for index in _TO_BANDS], dim=1) * ENTRY[filters]


def inverse(coefficients: Tensor, filters: Filters = "exact") -> Tensor:
    """Return the volume whose subbands are `coefficients`: (B, 8 C, D, H, W) -> (B, C, 2D, 2H, 2W).

    The transposed transform, which for exact filters is the inverse.
    """
    bands = (coefficients * ENTRY[filters]).chunk(8, dim=1)
    parts = [bands[index] for index in _TO_SPLIT]
    for axis in (4, 3, 2):
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [
            torch.stack((low + high, low - high), dim=axis + 1).flatten(axis, axis + 1)
            for low, high in pairs
        ]
    return parts[0]
