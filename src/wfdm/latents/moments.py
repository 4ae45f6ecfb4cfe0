"""Moments of the training latents: each modality's mean, and the variance about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from wfdm.atomic import atomic_path
from wfdm.data.table import MODALITY_IDS
from wfdm.errors import damaged

FILE = "moments.safetensors"


@dataclass(frozen=True)
class Moments:
    """Of posterior means, unscaled.

    Attributes:
        counts: (4,) training scans of each modality, by its number.
        means: (4, C, d, h, w) mean latent of each modality; 0 where there is no scan.
        within: (C, d, h, w) variance about the own modality's mean, over all scans.
    """

    counts: np.ndarray
    means: np.ndarray
    within: np.ndarray

    def write(self, folder: Path) -> None:
        """Write them into a folder of latents."""
        with atomic_path(folder / FILE) as temporary:
            save_file(
                {name: part.astype(np.float32) for name, part in vars(self).items()}, temporary
            )

    @classmethod
    def read(cls, folder: Path) -> "Moments":
        """Read what `write` wrote, float64. Raises UserError where it is something else."""
        path = folder / FILE
        try:
            return cls(**{name: part.astype(np.float64) for name, part in load_file(path).items()})
        except (OSError, SafetensorError, TypeError) as error:
            raise damaged(path, error) from None


def moments(latents: Iterator[tuple[str, np.ndarray]], shape: tuple[int, ...]) -> Moments:
    """Gather moments over (modality, posterior mean (C, d, h, w)), in float64, one at a time."""
    counts = np.zeros(len(MODALITY_IDS))
    sums, squares = np.zeros((len(MODALITY_IDS), *shape)), np.zeros(shape)
    for modality, latent in latents:
        number, latent = MODALITY_IDS[modality], latent.astype(np.float64)
        counts[number] += 1
        sums[number] += latent
        squares += latent**2
    means = sums / np.maximum(counts, 1).reshape(-1, 1, 1, 1, 1)
    explained = (counts.reshape(-1, 1, 1, 1, 1) * means**2).sum(0)
    return Moments(counts, means, np.maximum(squares - explained, 0) / counts.sum())
