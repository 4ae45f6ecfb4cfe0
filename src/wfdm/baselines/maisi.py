"""MAISI's MR-Brain model as a generator: 30 guided steps, on the study's own grid.

It is told the voxel's size and makes any size, so its volumes need no interpolation. It knows
skull-stripped T1w, T2w and FLAIR; its T1 with contrast is a whole head, and is not asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from torch import Tensor

from wfdm.accelerator import accelerator
from wfdm.baselines import maisi_networks as maisi
from wfdm.baselines.files import filled, published_state
from wfdm.baselines.grid import Affine
from wfdm.baselines.latent_system import LatentPublished, autoencoder_file
from wfdm.config.latent_baselines import MaisiBrainSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.volumes import model_affine
from wfdm.errors import UserError
from wfdm.generators.protocol import Request
from wfdm.models.weights import read_state
from wfdm.provenance.digests import sha256_of

CLASSES = {"T1w": 29, "T2w": 30, "FLAIR": 31}
"""identifiers of skull-stripped scans"""
INSIDE = ("unet_state_dict",)  # of their files, where weights lie
STEP = 32  # voxels a side: 4 of the autoencoder, times 8 of the denoiser's levels


@dataclass(frozen=True)
class Maisi(LatentPublished):
    """MAISI with the MR-Brain weights of its authors.

    Attributes:
        scale: latents are divided by it before they are decoded.
    """

    row: MaisiBrainSettings
    network: DiffusionModelUNetMaisi
    autoencoder: AutoencoderKlMaisi
    scale: float

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar of a sample says of how it was made."""
        told = {"Guidance": self.row.guidance, "LatentScale": self.scale}
        return {**super().made_by(request, seed), **told}

    @torch.inference_mode()
    def make(self, request: Request, seed: int) -> tuple[np.ndarray, Affine]:
        """Return the volume as their code saves it, int16 from 0, on the study's grid.

        Raises:
            UserError: a side of the study's volumes does not divide by 32.
        """
        shape = self.volume.shape
        if any(side % STEP for side in shape):
            raise UserError(
                f"{self.name}: MAISI makes volumes whose sides are multiples of {STEP}, and "
                f"volume.shape is {shape}: leave the row out (generators: {{{self.name}: null}})"
            )
        latent = (maisi.LATENT, *(side // maisi.FACTOR for side in shape))
        start = self.noise(request, seed, (1, *latent))
        classes = torch.tensor([CLASSES[request.modality]], device=self.device)
        told = (self.spacing,) * 3
        velocity = maisi.guided(self.network, classes, told, self.row.guidance)
        z = maisi.sampled(velocity, start, maisi.timesteps(self.row.steps, latent))
        volume = maisi.saved(self.autoencoder.decode(z / self.scale))[0, 0]
        return volume.cpu().numpy(), model_affine(shape, self.spacing)


def load(file: Path) -> tuple[DiffusionModelUNetMaisi, float]:
    """Return the published denoiser, and the scale of its latents, which lies in its file.

    Raises:
        UserError: the file holds something else.
    """
    network = filled(maisi.unet, published_state(file, "MAISI", INSIDE), file, "MAISI")
    scale = read_state(file).get("scale_factor")
    if not (isinstance(scale, Tensor) and scale.numel() == 1 and float(scale) > 0):
        raise UserError(f"{file} does not hold the 'scale_factor' of MAISI's latents")
    return network, float(scale)


def load_autoencoder(file: Path) -> AutoencoderKlMaisi:
    """Return the published autoencoder.

    Raises:
        UserError: the file holds something else.
    """
    system = "MAISI's autoencoder"
    return filled(maisi.autoencoder, published_state(file, system, INSIDE), file, system)


def of_row(
    name: str, row: MaisiBrainSettings, source: Path, volume: VolumeSettings, spacing: float
) -> Maisi:
    """Return a row of table 4; `source` is the denoiser's file, beside the autoencoder's."""
    device, second = accelerator(), autoencoder_file(row, source)
    network, scale = load(source)
    return Maisi(
        name=name,
        row=row,
        network=network.to(device),
        digest=sha256_of(source),
        volume=volume,
        spacing=spacing,
        device=device,
        autoencoder=load_autoencoder(second).to(device),
        autoencoder_digest=sha256_of(second),
        scale=scale,
    )
