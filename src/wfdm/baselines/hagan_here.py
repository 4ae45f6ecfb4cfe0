"""HA-GAN as a study trained it, as a generator: one pass from noise and modality to a volume."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from wfdm.accelerator import accelerator
from wfdm.baselines.hagan_folder import Networks, Shape, one_hot, out_of_cube
from wfdm.baselines.hagan_folder import load as load_networks
from wfdm.config.cohort import Modality
from wfdm.config.generators import TrainedGanSettings
from wfdm.data.paths import SPACE
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import model_affine
from wfdm.generators.protocol import Request, Sample, refuse_others
from wfdm.provenance.digests import sha256_of
from wfdm.seeds import seed_for, torch_generator


@dataclass(frozen=True)
class TrainedHagan:
    """A trained HA-GAN, ready to use.

    Attributes:
        name: of the row or of the GAN; part of the noise's seed.
        gan: whose weights these are: the name in `gans`.
        modalities: those that it was trained on.
        networks: frozen, on `device`.
        latent: length of the noise.
        shape: of the study's volumes.
        spacing: of their voxels, in mm.
        digest: sha256 of the weights.
        device: where it computes.
    """

    name: str
    gan: str
    modalities: tuple[Modality, ...]
    networks: Networks
    latent: int
    shape: Shape
    spacing: float
    digest: str
    device: torch.device

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar of a sample says of how it was made."""
        return {
            "Gan": self.gan,
            "Seed": seed,
            "ModelSHA256": {"gan": self.digest},
            "SkullStripped": True,
            "Space": SPACE,
        }

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield (G(z, modality) + 1) / 2 for each request, float32 on the study's grid, in [0, 1].

        The noise z depends on the seed, the row's name and the request's name alone.
        """
        refuse_others(self, requests, self.name)
        affine = model_affine(self.shape, self.spacing)
        for request in requests:
            own = torch_generator(seed_for(seed, "sample", self.name, request.name))
            noise = torch.randn((1, self.latent), generator=own).to(self.device)
            told = one_hot(torch.tensor([MODALITIES.index(request.modality)])).to(self.device)
            volume = out_of_cube(self.networks.made(noise, told), self.shape)
            yield Sample(request, volume[0, 0].cpu().numpy(), affine)


def load(folder: Path) -> TrainedHagan:
    """Load a trained GAN, frozen, onto the accelerator; it is called as it was in training.

    Raises:
        UserError: the folder holds none.
    """
    networks, config = load_networks(folder)
    device = accelerator()
    return TrainedHagan(
        name=config["name"],
        gan=config["name"],
        modalities=config["modalities"],
        networks=networks.to(device),
        latent=config["network"].latent,
        shape=config["shape"],
        spacing=config["spacing"],
        digest=sha256_of(folder / "model.safetensors"),
        device=device,
    )


def of_row(name: str, row: TrainedGanSettings, source: Path) -> TrainedHagan:
    """Return a row of table 4; `source` is the model.safetensors of the trained GAN."""
    return replace(load(source.parent), name=name)
