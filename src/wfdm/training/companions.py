"""Scans with the others of their session, as the training of a completion draws them."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from wfdm.data.exclusions import session_of
from wfdm.data.metadata import Statistics
from wfdm.data.table import MODALITIES, MODALITY_IDS, rows_of
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.training.batches import Batch
from wfdm.training.conditioned import Balanced, Conditioned


@dataclass(frozen=True)
class Companions:
    """The scans of every session with two modalities or more.

    Attributes:
        scans: each of them, with its conditions: what is made.
        others: of each, the scan_id of the others of its session by modality, in their order.
    """

    scans: Conditioned
    others: list[dict[str, str]]

    @classmethod
    def of(
        cls, cache: Latents, scans: pd.DataFrame, statistics: Statistics, what: str
    ) -> "Companions":
        """Gather the sessions of `scans` and encode their conditions once.

        Args:
            cache: of the latents.
            scans: columns of the scan table, without the person.
            statistics: of the numeric metadata fields.
            what: which scans these are, for the message.

        Raises:
            UserError: no session has two modalities, or a scan has no latent.
        """
        sessions: dict[str, dict[str, str]] = defaultdict(dict)
        keys = [session_of(row) for row in rows_of(scans)]
        for key, name, modality in zip(keys, scans["scan_id"], scans["modality"], strict=True):
            sessions[key][modality] = name
        several = scans[[len(sessions[key]) > 1 for key in keys]]
        if several.empty:
            raise UserError(
                f"split: no {what} session has two modalities, which a completion needs: give more "
                "people"
            )
        others = [
            {name: found[name] for name in MODALITIES if name in found.keys() - {row["modality"]}}
            for row in rows_of(several)
            for found in [sessions[session_of(row)]]
        ]
        return cls(Conditioned.of(cache, several, statistics), others)

    def item(self, index: int, chosen: Collection[str]) -> Batch:
        """Return one scan as `Conditioned.item` does, and the latents of some of its session.

        Args:
            index: of the scan.
            chosen: modalities among its `others`.

        Returns:
            Beside z and the conditions: sources (4, C, d, h, w), scaled, 0 where there is none,
            and there (4,).
        """
        item = self.scans.item(index)
        sources = torch.zeros(len(MODALITIES), *item["z"].shape)
        there = torch.zeros(len(MODALITIES))
        for name in chosen:
            latent = self.scans.cache.scaled_mean(self.others[index][name])
            sources[MODALITY_IDS[name]] = torch.from_numpy(latent)
            there[MODALITY_IDS[name]] = 1
        return item | {"sources": sources, "there": there}

    def subset(self, index: int, rng: np.random.Generator) -> list[str]:
        """Return some of a scan's others: every non-empty subset is equally likely."""
        names = list(self.others[index])
        bits = int(rng.integers(1, 2 ** len(names)))
        return [name for place, name in enumerate(names) if bits >> place & 1]


class SubsetDraws:
    """Draw a scan so that rare modalities are made too, and a subset of its session's others.

    Args:
        companions: of the training split.
        balance: see `balanced_weights`, of the modality that is made.
    """

    def __init__(self, companions: Companions, balance: float) -> None:
        self.companions = companions
        self.places = Balanced(companions.scans.conditions.modality.numpy(), balance)

    def draw(self, rng: np.random.Generator) -> Batch:
        """Return one item."""
        index = self.places.draw(rng)
        return self.companions.item(index, self.companions.subset(index, rng))
