"""Latents with their conditions, as stage B draws them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch

from wfdm.data.metadata import Statistics
from wfdm.data.table import MODALITIES, rows_of
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.models.denoisers.conditions import Conditions
from wfdm.training.batches import Batch


def balanced_weights(modalities: np.ndarray, balance: float) -> np.ndarray:
    """Return each scan's chance to be drawn: 1 / count(modality) ** balance, normalised.

    Args:
        modalities: (n,) integer modality of each scan.
        balance: 0 draws scans alike, 1 draws modalities alike (paper, 2.5.6; authors' code).
    """
    weights = 1 / np.bincount(modalities)[modalities] ** balance
    return weights / weights.sum()


class Balanced:
    """Draws of places so that rare modalities are seen (paper, 2.5.6).

    Args:
        modalities: (n,) integer modality at each place.
        balance: see `balanced_weights`.
    """

    def __init__(self, modalities: np.ndarray, balance: float) -> None:
        self.cumulative = np.cumsum(balanced_weights(modalities, balance))

    def draw(self, rng: np.random.Generator) -> int:
        """Return one place in [0, n)."""
        place = np.searchsorted(self.cumulative, rng.random(), side="right")
        return min(int(place), len(self.cumulative) - 1)


def next_modality(name: str, among: Collection[str]) -> str:
    """Return the modality of `among` that follows `name`; of a single one itself."""
    place = MODALITIES.index(name) + 1
    order = [*MODALITIES[place:], *MODALITIES[:place]]
    return next(each for each in order if each in among)


@dataclass(frozen=True)
class Conditioned:
    """Latents with their conditions c (paper, equation 3)."""

    cache: Latents
    scan_ids: list[str]
    modalities: list[str]
    conditions: Conditions

    @classmethod
    def of(cls, cache: Latents, scans: pd.DataFrame, statistics: Statistics) -> "Conditioned":
        """Encode the conditions of `scans` once. Raises UserError for a scan without latent."""
        lost = [scan_id for scan_id in scans["scan_id"] if scan_id not in cache]
        if lost:
            raise UserError(f"{cache.folder}: no latent of {lost[0]} and {len(lost) - 1} more")
        modalities = list(scans["modality"])
        conditions = Conditions.of(modalities, rows_of(scans), statistics)
        return cls(cache, list(scans["scan_id"]), modalities, conditions)

    def item(self, index: int, deviations: np.random.Generator | None = None) -> Batch:
        """Return one scan's scaled latent z and conditions, without a batch axis.

        z is the posterior's mean, or with a generator of `deviations` drawn from it.
        """
        mean, deviation = self.cache.scaled(self.scan_ids[index])
        if deviations is not None:
            mean = mean + deviation * deviations.standard_normal(mean.shape, np.float32)
        return {"z": torch.from_numpy(mean), **self.conditions[index].as_dict()}


class BalancedDraws:
    """Training scans, rare modalities more often than they occur.

    Args:
        scans: the training split.
        balance: see `balanced_weights`.
        posterior: "sample" draws each latent from its posterior, "mean" takes the mean.
    """

    def __init__(
        self, scans: Conditioned, balance: float, posterior: Literal["mean", "sample"]
    ) -> None:
        self.scans, self.posterior = scans, posterior
        self.places = Balanced(scans.conditions.modality.numpy(), balance)

    def draw(self, rng: np.random.Generator) -> Batch:
        """Return one item."""
        index = self.places.draw(rng)
        return self.scans.item(index, rng if self.posterior == "sample" else None)
