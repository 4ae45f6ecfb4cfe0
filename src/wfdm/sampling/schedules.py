"""Times of rectified flow: 0 is data, 1 is noise."""

from math import prod

import torch
from torch import Tensor


def time_shift(t: Tensor, voxels: int, reference_voxels: int) -> Tensor:
    """Return t' = r t / (1 + (r - 1) t) with r = (voxels / reference_voxels) ** (1 / 3).

    Large latents need more noise to hide the same structure, so times move towards 1 for them.
    `voxels` counts spatial voxels, without channels, in training and in sampling alike. (The
    authors' code counts channels too when it samples: r is 2.36 there, 1.49 in training.)

    Args:
        t: times in [0, 1], any shape; the result keeps dtype and device.
        voxels: spatial voxels of the latent.
        reference_voxels: spatial voxels of a latent whose times are not moved.
    """
    r = (voxels / reference_voxels) ** (1 / 3)
    return r * t / (1 + (r - 1) * t)


def rflow_times(steps: int, voxels: int, reference_voxels: int) -> Tensor:
    """Return the `steps` + 1 times of a sampler, float64, from 1 down to 0, shifted."""
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return time_shift(even, voxels, reference_voxels)


def spatial_voxels(latent_shape: tuple[int, ...]) -> int:
    """Return the number of spatial voxels of a latent of shape (C, d, h, w)."""
    return prod(latent_shape[1:])
