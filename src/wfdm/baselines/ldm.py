"""LDM as a generator: 50 steps of DDIM in latents, a whole head in T1w at 1 mm.

Its volumes are whole heads, the study's are brains: nothing is stripped here, and the sidecar says
so. They were registered to MNI space, which is not the study's frame, so they are centred.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet
from torch import Tensor

from wfdm.accelerator import accelerator
from wfdm.baselines import ldm_networks as ldm
from wfdm.baselines.files import filled, published_state
from wfdm.baselines.grid import Affine, centred
from wfdm.baselines.latent_system import LatentPublished, autoencoder_file
from wfdm.config.latent_baselines import LdmSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.generators.protocol import Request
from wfdm.provenance.digests import sha256_of

ORIENTATION = "LAS"  # of their saver's affine
SEXES = {"female": 0.0, "male": 1.0}


@dataclass(frozen=True)
class Ldm(LatentPublished):
    """LDM with the weights of its authors."""

    row: LdmSettings
    network: DiffusionModelUNet
    autoencoder: AutoencoderKL
    sides: tuple[int, int, int] = ldm.LATENT_SIDES

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar says; with the conditions as the network was told them."""
        told = dict(zip(("Sex", "Age", "Ventricles", "Brain"), self.told(request), strict=True))
        return {**super().made_by(request, seed), "SkullStripped": False, "ConditionsTold": told}

    def told(self, request: Request) -> list[float]:
        """Return sex, age, volume of ventricles and of brain, each from 0 to 1."""
        sex, age = (str(request.metadata.get(field) or "") for field in ("sex", "age"))
        young, old = self.row.ages
        share = (float(age) - young) / (old - young) if age else self.row.age
        sex_told = SEXES.get(sex, self.row.sex)
        return [sex_told, min(max(share, 0.0), 1.0), self.row.ventricles, self.row.brain]

    @torch.inference_mode()
    def make(self, request: Request, seed: int) -> tuple[np.ndarray, Affine]:
        """Return the volume as their saver crops and scales it, [0, 1], and its place."""
        start = self.noise(request, seed, (1, ldm.LATENT, *self.sides))
        conditions = torch.tensor([[self.told(request)]], device=self.device)
        noise = ldm.predicted_noise(self.network, conditions)
        latent = ldm.sampled(noise, start, ldm.sampling_times(self.row.steps))
        volume = ldm.saved(self.autoencoder.decode(latent))[0, 0].cpu().numpy()
        return volume, centred(volume, ORIENTATION, volume.shape)


def load(file: Path) -> DiffusionModelUNet:
    """Return the published denoiser.

    Raises:
        UserError: the file holds something else.
    """
    return filled(ldm.unet, _state(file, "LDM"), file, "LDM")


def load_autoencoder(file: Path) -> AutoencoderKL:
    """Return the published autoencoder.

    Raises:
        UserError: the file holds something else.
    """
    system = "LDM's autoencoder"
    return filled(ldm.autoencoder, _state(file, system), file, system)


def _state(file: Path, system: str) -> dict[str, Tensor]:
    return ldm.renamed(published_state(file, system, ("state_dict",)))


def of_row(
    name: str, row: LdmSettings, source: Path, volume: VolumeSettings, spacing: float
) -> Ldm:
    """Return a row of table 4; `source` is the denoiser's file, beside the autoencoder's."""
    device, second = accelerator(), autoencoder_file(row, source)
    return Ldm(
        name=name,
        row=row,
        network=load(source).to(device),
        digest=sha256_of(source),
        volume=volume,
        spacing=spacing,
        device=device,
        autoencoder=load_autoencoder(second).to(device),
        autoencoder_digest=sha256_of(second),
    )
