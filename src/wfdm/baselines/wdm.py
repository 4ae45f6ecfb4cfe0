"""WDM as a generator: 1000 steps on Haar subbands, a volume of 128 voxels a side at 2 mm."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wfdm.accelerator import accelerator
from wfdm.baselines import wdm_networks as wdm
from wfdm.baselines.diffusion_unet import UNet
from wfdm.baselines.files import filled, published_state
from wfdm.baselines.grid import BRATS, Affine, of_voxels
from wfdm.baselines.system import Published
from wfdm.config.baselines import WdmSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.generators.protocol import Request
from wfdm.models.compressors.uncompressed import SUBBANDS, as_image
from wfdm.provenance.digests import sha256_of

# The authors pad a BraTS volume to 256 voxels a side, then take means of 2 voxels a side.
PADDED = (8, 8, 50)  # voxels before the first
WHERE = of_voxels(BRATS, tuple(0.5 - before for before in PADDED), 2)


@dataclass(frozen=True)
class Wdm(Published):
    """WDM with the weights of its authors."""

    row: WdmSettings
    network: UNet
    side: int = wdm.SIDE

    def make(self, request: Request, seed: int) -> tuple[np.ndarray, Affine]:
        """Return the image of the last step, (x + 1) / 2, which lies as BraTS volumes do."""
        plan, half = wdm.schedule(self.row.steps), self.side // 2
        shape = (1, SUBBANDS, half, half, half)
        x = self.noise(request, seed, shape)
        for place in reversed(range(len(plan.kept))):
            x = wdm.step(
                self.network, plan, place, x, self.noise(request, seed, shape, "step", place)
            )
        return (as_image(x)[0, 0] / 2 + 0.5).cpu().numpy(), WHERE


def load(file: Path) -> UNet:
    """Return the published network; its file is the state dict alone.

    Raises:
        UserError: the file holds something else.
    """
    return filled(lambda: UNet(wdm.PUBLISHED), published_state(file, "WDM"), file, "WDM")


def of_row(
    name: str, row: WdmSettings, source: Path, volume: VolumeSettings, spacing: float
) -> Wdm:
    """Return a row of table 4; `source` is the file of the network's weights."""
    device, digest = accelerator(), sha256_of(source)
    return Wdm(name, row, load(source).to(device), digest, volume, spacing, device)
