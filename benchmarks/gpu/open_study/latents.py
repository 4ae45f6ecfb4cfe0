"""The latents of all scans, and the space in which a denoiser sees them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.open_study.data import Data, shifted
from benchmarks.gpu.open_study.learner import SEED, measuring
from wfdm.models.compressors.base import Compressor
from wfdm.seeds import seed_for

MOVED = 2  # further encodings of each scan, and of its mirror image, moved by up to one voxel


@dataclass(frozen=True)
class Latents:
    """Posterior means, unscaled.

    Attributes:
        plain: (n, C, d, h, w) of every scan as it is.
        training: (k, n_train, C, d, h, w): as it is, mirrored, then both moved a little.
        deviation: mean posterior standard deviation of each channel.
    """

    plain: Tensor
    training: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class Space:
    """z = (latent - mean) * scale: what the denoiser sees.

    Attributes:
        kind: "centred" (less the mean training latent) or "scale" (about zero, as the paper).
        mean: (C, d, h, w), zero for "scale".
        scale: 1 / RMS of what is left, one number.
    """

    kind: str
    mean: Tensor
    scale: float

    def to(self, latent: Tensor) -> Tensor:
        """Return what the denoiser sees."""
        return (latent - self.mean) * self.scale

    def back(self, z: Tensor) -> Tensor:
        """Undo `to`."""
        return z / self.scale + self.mean


@measuring()
def encode(model: Compressor, data: Data, batch: int = 4) -> Latents:
    """Encode every scan, and the training scans in all their versions, in single precision."""

    def means(volumes: Tensor) -> Tensor:
        parts = [model.encode(part.float() / 255)[0] for part in volumes.split(batch)]
        return torch.cat(parts)

    draw = torch.Generator().manual_seed(seed_for(SEED, "open study", "moves"))
    rows = data.split["train"]
    plain = means(data.volumes)
    versions = [plain[rows], means(shifted(data.volumes[rows], (0, 0, 0), True))]
    for number in range(2 * MOVED):
        moves = torch.randint(-1, 2, (len(rows), 3), generator=draw).tolist()
        pairs = zip(data.volumes[rows], moves, strict=True)
        moved = [shifted(volume, tuple(move), number % 2 == 1) for volume, move in pairs]
        versions.append(means(torch.stack(moved)))
    spread = torch.cat([model.encode(data.real(part))[1] for part in rows[:16].split(batch)])
    return Latents(plain, torch.stack(versions), spread.mean((0, 2, 3, 4)))


def space_of(kind: str, latents: Latents) -> Space:
    """Return the space of that kind, from the training latents alone."""
    versions = latents.training
    mean = torch.zeros_like(versions[0, 0])
    if kind == "centred":
        mean = versions.mean((0, 1))
    return Space(kind, mean, 1 / float((versions - mean).square().mean().sqrt()))


def statistics(latents: Latents, data: Data) -> dict[str, Any]:
    """Return what describes the latent space: of training scans unless told otherwise."""
    plain = latents.plain[data.split["train"]]
    mean = plain.mean(0)
    held = latents.plain[data.held_out()]
    rms = lambda x, *axes: x.square().mean(axes).sqrt() if axes else x.square().mean().sqrt()  # noqa: E731
    return {
        "shape": list(plain.shape[1:]),
        "n_train": len(plain),
        "n_held_out": len(held),
        "rms": rms(plain),
        "rms_about_mean_latent": rms(plain - mean),
        "rms_about_mean_latent_held_out": rms(held - mean),
        "share_of_power_in_mean_latent": 1 - rms(plain - mean) ** 2 / rms(plain) ** 2,
        "channel_mean": plain.mean((0, 2, 3, 4)),
        "channel_rms": rms(plain, 0, 2, 3, 4),
        "channel_rms_about_mean_latent": rms(plain - mean, 0, 2, 3, 4),
        "channel_posterior_deviation": latents.deviation,
        "largest": plain.abs().max(),
    }
