"""HA-GAN as a generator: one pass from noise to a volume in [0, 1]."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from wfdm.accelerator import accelerator
from wfdm.baselines.files import filled, published_state
from wfdm.baselines.grid import Affine, centred
from wfdm.baselines.hagan_networks import LATENT, Generator
from wfdm.baselines.system import Published
from wfdm.config.baselines import HaganSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.generators.protocol import Request
from wfdm.provenance.digests import sha256_of


@dataclass(frozen=True)
class Hagan(Published):
    """HA-GAN with the weights of its authors."""

    row: HaganSettings

    @torch.inference_mode()
    def make(self, request: Request, seed: int) -> tuple[np.ndarray, Affine]:
        """Return the generator's volume, (tanh + 1) / 2, and where its axes lead."""
        z = self.noise(request, seed, (1, LATENT))
        volume = (self.network(z)[0, 0] / 2 + 0.5).cpu().numpy()
        return volume, centred(volume, self.row.orientation, self.row.field_mm)


def load(file: Path, side: int) -> Generator:
    """Return the published generator for volumes of `side` voxels a side.

    The size cannot be read from the file: both have the same weights.

    Raises:
        UserError: the file holds something else.
    """
    state = published_state(file, "HA-GAN", within=("model",))
    return filled(lambda: Generator(side), state, file, "HA-GAN")


def of_row(
    name: str, row: HaganSettings, source: Path, volume: VolumeSettings, spacing: float
) -> Hagan:
    """Return a row of table 4; `source` is the file of the generator's weights."""
    device, digest = accelerator(), sha256_of(source)
    return Hagan(name, row, load(source, row.side).to(device), digest, volume, spacing, device)
