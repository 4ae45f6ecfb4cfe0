"""What the latents of a session decode to, without any completion: a floor and the ceiling."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wfdm.data.table import MODALITY_IDS
from wfdm.latents.cache import Latents
from wfdm.latents.compressor import load_compressor
from wfdm.latents.standard import Standard
from wfdm.models.compressors.base import Compressor
from wfdm.models.denoisers.sources import Sources
from wfdm.models.plain_unet import PlainUNet, load


@dataclass(frozen=True)
class Decoded:
    """The compressor, and a plain U-Net where one was trained.

    Attributes:
        latents: of every scan.
        compressor: that made them, on `device`.
        unet: on `device`; None: none was trained.
        standard: how the U-Net sees latents, on `device`.
        device: where they work.
    """

    latents: Latents
    compressor: Compressor
    unet: PlainUNet | None
    standard: Standard | None
    device: torch.device | str = "cpu"

    @classmethod
    def of(cls, latents: Path, unet: Path | None, device: torch.device | str) -> "Decoded":
        """Load them.

        Args:
            latents: folder of the latent cache.
            unet: folder of the U-Net; None: there is none.
            device: where they work.

        Raises:
            UserError: one is missing or damaged.
        """
        cache = Latents(latents)
        return cls(
            latents=cache,
            compressor=load_compressor(cache.space).to(device),
            unet=load(unet).to(device) if unet else None,
            standard=Standard.read(unet).to(device) if unet else None,
            device=device,
        )

    def reconstructed(self, scan_id: str) -> Tensor:
        """Return a scan through the compressor, (1, 1, *shape): no completion is nearer to it."""
        return self._decoded(self._scaled(scan_id))

    def predicted(self, sources: Sequence[str], modality: str) -> Tensor | None:
        """Return what the U-Net says, (1, 1, *shape); None where none was trained.

        Args:
            sources: scan_id of each.
            modality: that is wanted.
        """
        if self.unet is None or self.standard is None:
            return None
        given = {}
        for scan_id in sources:
            name = scan_id.rpartition("_")[2]
            seen = self.standard.seen(self._scaled(scan_id), self._number(name))
            given[name] = seen[0]
        number = self._number(modality)
        answer = self.unet(Sources.of(given), number)
        return self._decoded(self.standard.scaled(answer, number))

    def _number(self, modality: str) -> Tensor:
        return torch.tensor([MODALITY_IDS[modality]], device=self.device)

    def _scaled(self, scan_id: str) -> Tensor:
        return torch.from_numpy(self.latents.scaled_mean(scan_id))[None].to(self.device)

    def _decoded(self, scaled: Tensor) -> Tensor:
        return self.compressor.decode(scaled / self.latents.space.scale).clamp(0, 1).float()
