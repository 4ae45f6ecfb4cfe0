"""Med-DDPM as a generator: 250 steps from noise to four modalities around a given tumour."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from wfdm.accelerator import accelerator
from wfdm.baselines import med_ddpm_networks as med
from wfdm.baselines.diffusion_unet import UNet
from wfdm.baselines.files import filled, published_state
from wfdm.baselines.grid import Affine, of_voxels
from wfdm.baselines.system import Published
from wfdm.config.baselines import MedDdpmSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.masks import listed, read_mask
from wfdm.generators.protocol import Request
from wfdm.provenance.digests import sha256_of
from wfdm.seeds import generator_for

ORIENTATION = nib.orientations.axcodes2ornt("LPS")  # of BraTS arrays as they are stored
RAS = nib.orientations.axcodes2ornt("RAS")


@dataclass(frozen=True)
class MedDdpm(Published):
    """Med-DDPM with the weights of its authors, and masks to give it."""

    row: MedDdpmSettings
    network: UNet
    masks: tuple[Path, ...] = ()
    size: tuple[int, int, int] = med.SIZE

    def mask_of(self, request: Request, seed: int) -> Path:
        """Return the request's own mask, or one of the folder's, drawn by seed and name."""
        if request.mask is not None:
            return request.mask
        drawn = generator_for(seed, "mask", self.name, request.name).integers(len(self.masks))
        return self.masks[drawn]

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar says: the mask as well."""
        mask = self.mask_of(request, seed)
        told = {"Sources": [str(mask)], "SourceSHA256": sha256_of(mask)}
        return {**super().made_by(request, seed), "SamplingSteps": med.STEPS, **told}

    def make(self, request: Request, seed: int) -> tuple[np.ndarray, Affine]:
        """Return the request's modality of the four, min-max scaled; it lies as its mask does."""
        labels, where = condition_of(self.mask_of(request, seed), self.size)
        given = med.planes_of(labels[None].to(self.device))
        shape = (1, len(med.CHANNELS), *labels.shape)
        plan, x = med.schedule(), self.noise(request, seed, shape)
        for place in reversed(range(len(plan.kept))):
            noise = self.noise(request, seed, shape, "step", place)
            x = med.step(self.network, plan, place, x, given, noise)
        made = x[0, med.CHANNELS.index(request.modality)].permute(2, 1, 0).cpu().numpy()
        low, high = made.min(), made.max()
        return (made - low) / max(high - low, np.float32(1e-12)), where


def condition_of(mask: Path, size: tuple[int, int, int]) -> tuple[torch.Tensor, Affine]:
    """Return a mask's labels as the network has its axes (depth, second, first), and its place.

    It is turned as BraTS stores volumes, and cropped or padded around its middle to `size`.

    Returns:
        Labels of `size` in reverse, int64; the affine of (first, second, depth) to RAS in mm.
    """
    image = read_mask(mask)
    turned = image.as_reoriented(nib.orientations.ornt_transform(RAS, ORIENTATION))
    labels = np.asarray(turned.dataobj).astype(np.int64)
    first = [(have + 1 - want) // 2 for have, want in zip(labels.shape, size, strict=True)]
    # Padded by as much as is wanted at all: what is taken is then there in any case.
    padded = np.pad(labels, [(want, want) for want in size])
    begins = [begin + want for begin, want in zip(first, size, strict=True)]
    taken = padded[tuple(slice(b, b + want) for b, want in zip(begins, size, strict=True))]
    where = of_voxels(turned.affine, tuple(map(float, first)))
    return torch.from_numpy(taken.transpose(2, 1, 0).copy()), where


def load(file: Path) -> UNet:
    """Return the published network: the moving average, without the buffers of its schedule.

    Raises:
        UserError: the file holds something else.
    """
    state = published_state(file, "Med-DDPM", within=("ema",), prefix="denoise_fn.")
    return filled(lambda: UNet(med.PUBLISHED), state, file, "Med-DDPM")


def of_row(
    name: str, row: MedDdpmSettings, source: Path, volume: VolumeSettings, spacing: float
) -> MedDdpm:
    """Return a row of table 4; `source` is the file of the network's weights."""
    device, digest = accelerator(), sha256_of(source)
    network, masks = load(source).to(device), tuple(listed(row.masks))
    return MedDdpm(name, row, network, digest, volume, spacing, device, masks)
