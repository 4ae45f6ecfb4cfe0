"""What a denoiser sees of a latent: scaled (2.5.3), and moved and divided as its settings ask.

With z = s_z mu the scaled latent of modality m,

    x = (z - mean_m) / deviation

and mean and deviation come from the training split:

    scale         mean 0, deviation 1: the authors'
    per-channel   mean and deviation of each channel, over all scans and voxels
    centred       mean latent of the modality; one deviation, of what is left
    standardised  mean latent of the modality; the deviation of what is left, voxel by voxel
    unscaled      mean 0, deviation s_z: as the compressor gives it, x = mu
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wfdm.atomic import atomic_path
from wfdm.config.denoisers import LatentKind
from wfdm.errors import UserError, damaged
from wfdm.latents.moments import Moments

FILE = "standard.safetensors"
FLOOR = 0.1
"""Least deviation of a voxel, as a share of all voxels': outside the head nothing ever differs."""


@dataclass(frozen=True)
class Standard:
    """How latents are moved and divided, and what constant answers would cost.

    Attributes:
        mean: (4, C, d, h, w), by the modality's number, or sides of 1.
        deviation: (1, C, d, h, w), or sides of 1.
        modality_mean: (4, C, d, h, w) mean scaled latent of each modality: a floor for x0.
        overall_mean: (1, C, d, h, w) mean scaled latent of all training scans: another.
    """

    mean: Tensor
    deviation: Tensor
    modality_mean: Tensor
    overall_mean: Tensor

    @classmethod
    def of(cls, kind: LatentKind, moments: Moments, scale: float) -> "Standard":
        """Return the standard of a kind, from moments of the unscaled training latents.

        Raises:
            UserError: the training latents of every modality are all alike.
        """
        means, within = moments.means * scale, moments.within * scale**2
        share = (moments.counts / moments.counts.sum()).reshape(-1, 1, 1, 1, 1)
        overall = (share * means).sum(0)
        nothing, one = np.zeros((len(means), 1, 1, 1, 1)), np.ones((1, 1, 1, 1))
        if kind in ("scale", "unscaled"):
            mean, deviation = nothing, one if kind == "scale" else one * scale
        elif kind == "per-channel":
            mean, squares = _per_channel(overall), (share * means**2).sum(0) + within
            deviation = np.sqrt(_per_channel(squares) - mean**2)
            mean = nothing + mean
        else:
            mean, rest = means, np.sqrt(within.mean())
            voxels = within if kind == "standardised" else within.mean() * one
            floor = FLOOR * rest if kind == "standardised" else 0
            deviation = np.sqrt(voxels + floor**2)
        if not (deviation > 0).all():
            raise UserError("latents: the training scans' are all alike, so they have no deviation")
        parts = (mean, deviation[None], means, overall[None])
        return cls(*(torch.from_numpy(part.astype(np.float32)) for part in parts))

    def seen(self, z: Tensor, modality: Tensor) -> Tensor:
        """Return x of scaled latents z (B, C, d, h, w); `modality` holds (B,) numbers."""
        return (z - self.mean[modality]) / self.deviation

    def scaled(self, x: Tensor, modality: Tensor) -> Tensor:
        """Return z, of which x is `seen`."""
        return x * self.deviation + self.mean[modality]

    def to(self, device: torch.device | str) -> "Standard":
        """Return the same on `device`."""
        return Standard(**{name: part.to(device) for name, part in vars(self).items()})

    def write(self, folder: Path) -> Path:
        """Write it into the folder of a denoiser; return the file."""
        path = folder / FILE
        with atomic_path(path) as temporary:
            save_file({name: part.contiguous() for name, part in vars(self).items()}, temporary)
        return path

    @classmethod
    def read(cls, folder: Path) -> "Standard":
        """Read what `write` wrote. Raises UserError where it is missing or is something else."""
        path = folder / FILE
        try:
            return cls(**load_file(path))
        except FileNotFoundError:
            raise UserError(
                f"{path} is missing; train the denoiser, or name another folder"
            ) from None
        except (SafetensorError, TypeError) as error:
            raise damaged(path, error) from None


def _per_channel(values: np.ndarray) -> np.ndarray:
    """Return the mean of each channel of (C, d, h, w), as (C, 1, 1, 1)."""
    return values.mean((1, 2, 3), keepdims=True)
