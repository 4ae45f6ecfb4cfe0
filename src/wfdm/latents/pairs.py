"""Pairs of a denoiser's flow: noises, and the latents that its sampler carries them to.

Of `shard-0000-of-0064.npy`, float16 (n, C, d, h, w), each row is a scaled latent z_0;
`shard-0000-of-0064.tsv` beside it tells name and row, and what was asked: the modality and the
metadata of `scan_id`, a training scan. The noise z_1 is the name's own (`wfdm.latents.noise`), so
it is not stored. All pairs are synthetic.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wfdm.data.metadata import Statistics
from wfdm.data.table import read_table, rows_of
from wfdm.errors import UserError
from wfdm.latents.arrays import mapped
from wfdm.latents.noise import start_noise
from wfdm.latents.space import LatentSpace
from wfdm.models.denoisers.conditions import Conditions


class Pairs:
    """Pairs with their conditions.

    Args:
        tables: of all shards; the arrays lie beside them.
        space: of the latents.
        statistics: of the numeric metadata fields, as in the teacher's training.
        noise: the name that the teacher's noise is drawn by.
        seed: the study's.

    Raises:
        UserError: the tables hold no pair, or an array is not of this space.
    """

    def __init__(
        self,
        tables: Sequence[Path],
        space: LatentSpace,
        statistics: Statistics,
        noise: str,
        seed: int,
    ) -> None:
        parts = [read_table(path).assign(array=str(path.with_suffix(".npy"))) for path in tables]
        self.table = pd.concat(parts).sort_values("name", ignore_index=True)
        if self.table.empty:
            raise UserError(f"{tables[0].parent}: holds no pair; make them again")
        for path in self.table["array"].unique():
            if (found := mapped(Path(path)).shape[1:]) != space.shape:
                raise UserError(f"{path}: holds latents of {found}, not of {space.shape}")
        self.space, self.statistics, self.noise, self.seed = space, statistics, noise, seed

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.table)

    @property
    def names(self) -> list[str]:
        """Of all pairs, in their order."""
        return list(self.table["name"])

    @property
    def modalities(self) -> list[str]:
        """Of all pairs, in their order."""
        return list(self.table["modality"])

    @cached_property
    def conditions(self) -> Conditions:
        """Of all pairs, in their order."""
        return Conditions.of(self.modalities, rows_of(self.table), self.statistics)

    def item(self, index: int) -> dict[str, torch.Tensor]:
        """Return one pair, without a batch axis: latent "z", its "noise", and the conditions."""
        row = self.table.iloc[index]
        latent = mapped(Path(row["array"]))[int(row["row"])].astype(np.float32)
        noise = start_noise(self.space.shape, self.noise, row["name"], self.seed)
        return {
            "z": torch.from_numpy(latent),
            "noise": noise,
            **self.conditions[index].as_dict(),
        }
