"""Standardised volumes for training, kept in memory as far as they fit, and crops of them."""

from collections.abc import Sequence

import numpy as np
import torch

from wfdm.config.base import Size
from wfdm.config.volumes import VolumeSettings
from wfdm.data.volumes import load_standardised


class Volumes:
    """Standardised volumes by index.

    Held as float16: that halves the cache and, in [0, 1], errs by 0.0002 at most. Volumes that
    are not cached are rounded too, so that the cache's size never shows in a result.

    Args:
        paths: preprocessed volumes.
        settings: shape and percentiles.
        cache_mb: stop adding to the cache at this many MB; nothing is evicted, since every
            volume is equally likely to be wanted next.
    """

    def __init__(self, paths: Sequence[str], settings: VolumeSettings, cache_mb: float) -> None:
        self.paths, self.settings = list(paths), settings
        self._room = cache_mb * 1e6
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return volume `index`, (1, *shape) float16 in [0, 1]; not to be written to."""
        if index in self._kept:
            return self._kept[index]
        volume = load_standardised(self.paths[index], self.settings).astype(np.float16)
        if volume.nbytes <= self._room:
            self._room -= volume.nbytes
            self._kept[index] = volume
        return volume


class Crops:
    """Random crops of random volumes, every scan and every position equally likely."""

    def __init__(self, volumes: Volumes, crop: Size) -> None:
        self.volumes, self.crop = volumes, crop

    def draw(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return {"volume": (1, *crop) float32 in [0, 1]}."""
        volume = self.volumes[int(rng.integers(len(self.volumes)))]
        room = np.subtract(volume.shape[1:], self.crop)
        corner = rng.integers(room + 1)
        where = [slice(first, first + size) for first, size in zip(corner, self.crop, strict=True)]
        return {"volume": torch.from_numpy(volume[:, *where].astype(np.float32))}
