"""What completions learn from and are judged on: scans, and subsets of the others of a session."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from wfdm.config.completions import CompletionTraining
from wfdm.data.table import MODALITIES
from wfdm.latents.cache import Latents
from wfdm.latents.standard import Standard
from wfdm.models.denoisers.sources import Sources
from wfdm.seeds import generator_for
from wfdm.training.companions import Companions, SubsetDraws
from wfdm.training.loop import Batch, Draws
from wfdm.training.splits import of_split


@dataclass(frozen=True)
class Cases:
    """The draws of the training split, and the validation scans with the subset that each is told.

    Attributes:
        data: what a training draws.
        modalities: that are made.
        judged: of the validation split.
        chosen: which of its scans.
        seed: the study's.
        name: of the completion; part of every draw's seed.
    """

    data: Draws
    modalities: list[str]
    judged: Companions
    chosen: np.ndarray
    seed: int
    name: str

    @classmethod
    def of(
        cls,
        cache: Latents,
        scans: pd.DataFrame,
        config: Mapping[str, Any],
        training: CompletionTraining,
        seed: int,
        name: str,
    ) -> "Cases":
        """Gather the sessions with two modalities or more that a denoiser knows.

        Args:
            cache: of the latents.
            scans: columns of the scan table without the person, and the split.
            config: of the denoiser: its modalities and statistics.
            training: how the completion is trained.
            seed: the study's.
            name: of the completion.

        Raises:
            UserError: a split has no session with two modalities.
        """
        known = scans[scans["modality"].isin(config["modalities"])].sort_values("scan_id")
        fit, judged = (
            Companions.of(cache, of_split(known, split), config["statistics"], split)
            for split in ("train", "validation")
        )
        order = generator_for(seed, "validation", name).permutation(len(judged.others))
        return cls(
            data=SubsetDraws(fit, training.balance),
            modalities=[name for name in MODALITIES if name in fit.scans.modalities],
            judged=judged,
            chosen=order[: training.validation_scans],
            seed=seed,
            name=name,
        )

    def __len__(self) -> int:
        """Return the number of validation scans."""
        return len(self.chosen)

    @property
    def judged_modalities(self) -> list[str]:
        """Those of the validation scans."""
        names = {self.modality(index) for index in range(len(self))}
        return [name for name in MODALITIES if name in names]

    def modality(self, index: int) -> str:
        """Return what validation scan `index` is."""
        return self.judged.scans.modalities[self._place(index)]

    def scan_id(self, index: int) -> str:
        """Return which one validation scan `index` is."""
        return self.judged.scans.scan_ids[self._place(index)]

    def told(self, index: int) -> Batch:
        """Return validation scan `index`, round again, with its own subset: a batch of one."""
        drawn = generator_for(self.seed, "validation sources", self.name, self.scan_id(index))
        place = self._place(index)
        item = self.judged.item(place, self.judged.subset(place, drawn))
        return {key: value[None] for key, value in item.items()}

    def _place(self, index: int) -> int:
        return int(self.chosen[index % len(self)])


def seen_sources(standard: Standard, batch: Batch) -> Sources:
    """Return the sources of a batch of `Companions.item`, each as the denoiser sees it."""
    numbers = torch.arange(len(MODALITIES), device=batch["z"].device)
    seen = torch.stack([standard.seen(each, numbers) for each in batch["sources"]])
    return Sources(seen, batch["there"])
