"""What a completion is told: a non-empty subset of a session's modalities, and which it is."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, cat

from wfdm.data.table import MODALITIES, MODALITY_IDS
from wfdm.models.denoisers.unet import fold


@dataclass(frozen=True)
class Sources:
    """The scans that are there, of each item of a batch.

    Attributes:
        latents: (B, 4, C, d, h, w) as the denoiser sees them, by the modality's number; 0 where
            there is none.
        there: (B, 4) 1 where there is one.
    """

    latents: Tensor
    there: Tensor

    @classmethod
    def of(cls, given: Mapping[str, Tensor]) -> "Sources":
        """Return a batch of one from the latents (C, d, h, w) by modality, of which one at least.

        Raises:
            ValueError: there is none.
        """
        if not given:
            raise ValueError("there is no source")
        some = next(iter(given.values()))
        latents = some.new_zeros(len(MODALITIES), *some.shape)
        there = some.new_zeros(len(MODALITIES))
        for modality, latent in given.items():
            latents[MODALITY_IDS[modality]] = latent
            there[MODALITY_IDS[modality]] = 1
        return cls(latents[None], there[None])

    def control(self, patch: int) -> Tensor:
        """Return what a branch takes: the folded latents, then a plane of the mask for each.

        Args:
            patch: voxels a side that the denoiser folds into channels.

        Returns:
            (B, 4 C patch^3 + 4, d, h, w) of the folded sides; a latent without a scan is 0, also
            where `latents` holds something.
        """
        there = self.there[:, :, None, None, None]
        latents = self.latents * there[..., None]
        folded = fold(latents.flatten(1, 2), patch)
        return cat([folded, there.expand(-1, -1, *folded.shape[2:])], dim=1)
