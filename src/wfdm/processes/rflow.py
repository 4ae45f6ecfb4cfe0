"""Rectified flow: straight paths between data (t = 0) and noise (t = 1), and their velocity.

The paper's final process (2.5.4, 3.3). Every function takes the settings, so that another process
can stand in its place.
"""

from math import prod

import torch
from torch import Tensor

from wfdm.config.denoisers import RectifiedFlowSettings


def noised(x0: Tensor, noise: Tensor, t: Tensor, settings: RectifiedFlowSettings) -> Tensor:
    """Return x_t = (1 - t) x0 + t noise.

    Args:
        x0: (B, ...) data.
        noise: (B, ...) unit noise.
        t: (B,) times in [0, 1].
        settings: of the process.
    """
    t = t.reshape(-1, *[1] * (x0.dim() - 1))
    return (1 - t) * x0 + t * noise


def target(x0: Tensor, noise: Tensor, t: Tensor, settings: RectifiedFlowSettings) -> Tensor:
    """Return what the denoiser learns: the velocity v = x0 - noise, the same at every t."""
    return x0 - noise


def predicted(output: Tensor, noisy: Tensor, t: Tensor, settings: RectifiedFlowSettings) -> Tensor:
    """Return the velocity that a network's `output` stands for.

    With `linear_answer` it is output + c(t) x_t, where c(t) = (1 - 2t) / ((1 - t)^2 + t^2) makes
    c(t) x_t the best linear answer E[v x_t] / E[x_t^2] x_t to data of zero mean and unit variance:
    a network that says nothing starts from a loss of 1 / ((1 - t)^2 + t^2), instead of 2.

    Args:
        output: (B, ...) of the network.
        noisy: (B, ...) x_t.
        t: (B,) times in [0, 1].
        settings: of the process.
    """
    if not settings.linear_answer:
        return output
    t = t.reshape(-1, *[1] * (noisy.dim() - 1))
    return output + (1 - 2 * t) / ((1 - t) ** 2 + t**2) * noisy


def clean(answer: Tensor, noisy: Tensor, t: Tensor, settings: RectifiedFlowSettings) -> Tensor:
    """Return the data that a predicted velocity means: x0 = x_t + t v.

    Args:
        answer: (B, ...) predicted velocity.
        noisy: (B, ...) x_t.
        t: (B,) times in [0, 1].
        settings: of the process.
    """
    return noisy + t.reshape(-1, *[1] * (noisy.dim() - 1)) * answer


def levels(t: Tensor, settings: RectifiedFlowSettings) -> tuple[Tensor, Tensor]:
    """Return how much of x_t is data and how much noise: 1 - t and t."""
    return 1 - t, t


def training_times(
    uniform: Tensor, latent_shape: tuple[int, ...], settings: RectifiedFlowSettings
) -> Tensor:
    """Return the times of a training batch from `uniform` draws in [0, 1], shifted."""
    return time_shift(uniform, spatial_voxels(latent_shape), settings.reference_voxels)


def sampling_times(
    steps: int, latent_shape: tuple[int, ...], settings: RectifiedFlowSettings
) -> Tensor:
    """Return the `steps` + 1 times of a sampler, float64, from 1 down to 0, shifted."""
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return time_shift(even, spatial_voxels(latent_shape), settings.reference_voxels)


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


def spatial_voxels(latent_shape: tuple[int, ...]) -> int:
    """Return the number of spatial voxels of a latent of shape (C, d, h, w)."""
    return prod(latent_shape[1:])
