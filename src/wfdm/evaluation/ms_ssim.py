"""MS-SSIM between volumes of which each meets many others; what is one volume's is computed once.

The values are medmetric's (MONAI's `MultiScaleSSIMMetric`): five scales, a Gaussian window without
padding, average pooling by 2 between them. Its window of k^3 weights is the product of three of k,
so that a volume passes three banded matrices; and of the five things that are filtered for a pair
only the product is the pair's: the other four are each volume and its square.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from wfdm.errors import UserError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""of the scales, from fine to coarse (Wang et al., 2003)"""
SIGMA = 1.5
"""of the window, in voxels"""
C1, C2 = 0.01**2, 0.03**2
"""constants that keep luminance and contrast defined; for values in [0, 1]"""


@dataclass(frozen=True)
class Scale:
    """One volume at one scale: itself, and its mean and variance in each window."""

    volume: Tensor
    mean: Tensor
    variance: Tensor


def ms_ssim_kernel(shape: Sequence[int]) -> int:
    """Return the MS-SSIM window for volumes of `shape`: min(11, side // 16), made odd.

    Four halvings must leave at least one window, so the paper's 192 x 224 x 160 gives 9
    (authors' code). Raises UserError when the shortest side is under 48 voxels.
    """
    window = min(11, min(shape) // 16)
    if window < 3:
        raise UserError(
            f"volume.shape: MS-SSIM has five scales and cannot judge {tuple(shape)}; "
            "make every side at least 48 voxels"
        )
    return window - (window + 1) % 2


def scales(volume: Tensor, window: int) -> list[Scale]:
    """Return the five scales of a volume (1, 1, R, A, S) in [0, 1], fine to coarse.

    Args:
        volume: each side at least 16 times `window`, or a little less (`ms_ssim_kernel`).
        window: side of the Gaussian window, odd.
    """
    found = []
    for number in range(len(WEIGHTS)):
        if number:
            volume = F.avg_pool3d(volume, kernel_size=2)
        mean = blurred(volume, window)
        found.append(Scale(volume, mean, _spread(volume * volume, mean * mean, window)))
    return found


def ms_ssim(first: list[Scale], second: list[Scale]) -> float:
    """Return MS-SSIM of two volumes by their `scales`, with the window that both were made with.

    prod_s relu(mean cs_s)^w_s over the scales, with cs = (2 cov + C2) / (var + var' + C2); at the
    coarsest cs times the luminance (2 m m' + C1) / (m^2 + m'^2 + C1).
    """
    parts = []
    for number, (x, y) in enumerate(zip(first, second, strict=True)):
        window = x.volume.shape[-1] - x.mean.shape[-1] + 1
        both = x.mean * y.mean
        covariance = _spread(x.volume * y.volume, both, window)
        similarity = (2 * covariance + C2) / (x.variance + y.variance + C2)
        if number == len(WEIGHTS) - 1:
            similarity *= (2 * both + C1) / (x.mean.square() + y.mean.square() + C1)
        parts.append(similarity.mean().relu())
    weights = torch.tensor(WEIGHTS, device=parts[0].device)
    return float(torch.stack(parts).pow(weights).prod())


def _spread(product: Tensor, means: Tensor, window: int) -> Tensor:
    """Return the variance or covariance in each window, given the product and that of the means.

    The weights of medmetric's window sum to 1 + e, e about 1e-7 by rounding, so that it computes
    (1 + e) E[xy] - (1 + e)^2 E[x] E[y], less by e E[x] E[y]: the sixth digit of MS-SSIM.
    """
    return blurred(product, window) - means - _excess(window) * means


@cache
def _excess(window: int) -> float:
    """Return by how much the k^3 weights of medmetric's window sum to more than 1."""
    line = torch.exp(-(((torch.arange(window) - (window - 1) / 2) / SIGMA) ** 2) / 2)
    line = line / line.sum()
    cube = (line[:, None] * line)[..., None] * line
    return float(cube.double().sum()) - 1


def blurred(volume: Tensor, window: int) -> Tensor:
    """Return the Gaussian mean in each window inside the volume: (1, 1, R - window + 1, ...)."""
    r, a, s = volume.shape[2:]
    along_s = volume[0, 0] @ band(s, window, volume).T
    along_a = band(a, window, volume) @ along_s
    along_r = band(r, window, volume) @ along_a.reshape(r, -1)
    return along_r.reshape(1, 1, -1, *along_a.shape[1:])


def band(side: int, window: int, like: Tensor) -> Tensor:
    """Return the matrix (side - window + 1, side) whose rows hold the 1D window, shifted."""
    places = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    weights = torch.exp(-(places**2) / (2 * SIGMA**2))
    weights = (weights / weights.sum()).to(like)
    matrix = torch.zeros(side - window + 1, side, dtype=like.dtype, device=like.device)
    for shift, weight in enumerate(weights):
        matrix.diagonal(shift).fill_(weight)
    return matrix
