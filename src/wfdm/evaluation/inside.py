"""Paired metrics inside a mask: of the brain, or of a lesion."""

from collections.abc import Mapping
from math import inf, log10

from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor
from torch.nn import functional

WINDOW, SIGMA = 11, 1.5
"""of SSIM, as outside a mask (Wang et al. 2004)"""


def inside(made: Tensor, real: Tensor, masks: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """Return PSNR (dB), SSIM and MSE of a volume against its truth, inside each of the masks.

    Both volumes lie in [0, 1]. MSE is the mean squared difference of the voxels inside, PSNR is
    -10 log10 of it, and SSIM the mean over the voxels inside of the local similarity, whose window
    sees what surrounds a voxel, zero beyond the volume.

    Args:
        made: (1, 1, *shape).
        real: the same.
        masks: by name, (*shape) bool; each holds a voxel.
    """
    errors = (made - real).double().square()[0, 0]
    similar = _similarity(made, real)
    found = {}
    for name, mask in masks.items():
        mse = float(errors[mask].mean())
        psnr = -10 * log10(mse) if mse else inf
        found[name] = {"PSNR": psnr, "SSIM": float(similar[mask].mean()), "MSE": mse}
    return found


def _similarity(made: Tensor, real: Tensor) -> Tensor:
    """Return the structural similarity around each voxel, (*shape) float64."""
    first, second = (functional.pad(each.float(), [WINDOW // 2] * 6) for each in (made, real))
    window, sigma = (WINDOW,) * 3, (SIGMA,) * 3
    similar, _ = compute_ssim_and_cs(first, second, 3, window, sigma, data_range=1.0)
    return similar[0, 0].double()
