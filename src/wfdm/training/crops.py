"""Training crops of standardised volumes."""

import numpy as np
import torch

from wfdm.config.base import Size
from wfdm.training.volume_cache import Volumes


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
