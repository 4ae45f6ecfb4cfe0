"""What a denoiser is given besides the noisy latent and its time (paper, equation 3 and 2.5.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from wfdm.data.metadata import Statistics, encode
from wfdm.data.table import MODALITY_IDS, check_modality


@dataclass  # not frozen: mixed precision casts it field by field
class Conditions:
    """The conditions c of a batch.

    Attributes:
        modality: (B,) long, index into MODALITIES.
        values: (B, 25) float32, z-scores and integer identifiers of the metadata.
        mask: (B, 25) float32, 1 where a value is recorded.
    """

    modality: Tensor
    values: Tensor
    mask: Tensor

    @classmethod
    def of(
        cls, modalities: Sequence[str], rows: Sequence[Mapping], statistics: Statistics | None
    ) -> Self:
        """Encode the modality and the recorded metadata of each item.

        Raises:
            UserError: an unknown modality, or metadata that the schema does not know.
        """
        for name in modalities:
            check_modality(name)
        coded = [encode(row, statistics) for row in rows]
        values, mask = (torch.from_numpy(np.stack(part)) for part in zip(*coded, strict=True))
        return cls(torch.tensor([MODALITY_IDS[name] for name in modalities]), values, mask)

    def __getitem__(self, index: int | slice | list[int]) -> Conditions:
        """Return one item (without a batch axis) or several."""
        return self._each(lambda part: part[index])

    def to(self, device: torch.device | str) -> Conditions:
        """Return the same on `device`."""
        return self._each(lambda part: part.to(device))

    def repeated(self, copies: int) -> Conditions:
        """Return every item `copies` times, one after the other."""
        return self._each(lambda part: part.repeat_interleave(copies, 0))

    def as_modality(self, name: str) -> Conditions:
        """Return the same metadata with one modality for every item."""
        return replace(self, modality=torch.full_like(self.modality, MODALITY_IDS[name]))

    def without_metadata(self) -> Conditions:
        """Return the same modalities, with nothing recorded."""
        return replace(self, mask=torch.zeros_like(self.mask))

    def as_dict(self) -> dict[str, Tensor]:
        """Return the parts by name, as a batch carries them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, batch: Mapping[str, Tensor]) -> Self:
        """Rebuild what `as_dict` returned out of a batch; other parts of it are left alone."""
        return cls(**{field.name: batch[field.name] for field in fields(cls)})

    def _each(self, change) -> Conditions:
        return Conditions(**{name: change(part) for name, part in self.as_dict().items()})
