"""A HA-GAN that a study trained: its networks, its folder, and its cube beside the study's grid.

The published system is unconditional; its code has a variant whose class, one-hot, follows the
noise. Here the modality is that class, so that one generator makes every contrast. Volumes are
cubes of 128 or 256 voxels a side in [-1, 1]: the study's stands in the middle, nothing is resized.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor, nn

from wfdm.baselines.hagan_networks import Encoder, Generator, SubEncoder
from wfdm.config.gans import HaganNetwork
from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.models.weights import load_weights

Shape = tuple[int, int, int]
SLABS = 8  # of a volume


class Networks(nn.Module):
    """Generator and encoders."""

    def __init__(self, settings: HaganNetwork) -> None:
        super().__init__()
        channels, self.slices = settings.channels, settings.side // SLABS
        told = settings.latent + len(MODALITIES)
        self.generator = Generator(settings.side, told, channels)
        self.encoder = Encoder(2 * channels)
        self.sub_encoder = SubEncoder(settings.side, 8 * channels, settings.latent)

    def made(self, z: Tensor, told: Tensor) -> Tensor:
        """Return G(z, y), volumes (B, 1, S, S, S) in (-1, 1), of noise or codes z (B, latent)."""
        volume: Tensor = self.generator(torch.cat([z, told], 1))
        return volume

    def code(self, volume: Tensor) -> Tensor:
        """Return E^G(E^H(x)), (B, latent), of volumes (B, 1, S, S, S).

        E^H works slab by slab and keeps nothing for a backward pass: that would be a full-size
        volume's, which the method is there to avoid. It learns from its own slab alone.
        """
        with torch.no_grad():
            slabs = [self.encoder(slab) for slab in volume.split(self.slices, dim=2)]
        code: Tensor = self.sub_encoder(torch.cat(slabs, dim=2))
        return code

    def forward(
        self, noise: Tensor, told: Tensor, volume: Tensor, first: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return what a training step compares.

        Args:
            noise: (B, latent).
            told: (B, modalities) one-hot.
            volume: real, (B, 1, S, S, S) in [-1, 1].
            first: first slice of the slab, a multiple of 4.

        Returns:
            Of the noise a slab and the small volume; the slab that G^H makes of the real slab's
            features E^H(x_r); of the code E^G(E^H(x)) a slab and the small volume. The last three
            move the encoders alone.
        """
        slab, small = self.generator.slab(torch.cat([noise, told], 1), first)
        # Before `code`: under autocast, weights that are first cast without gradients stay so.
        features = self.encoder(slab_of(volume, first))
        with still(self.generator):
            near = self.generator.full(features)
            again, small_again = self.generator.slab(torch.cat([self.code(volume), told], 1), first)
        return slab, small, near, again, small_again


@contextmanager
def still(network: nn.Module) -> Iterator[nn.Module]:
    """Let gradients pass through a network that is trained, and none end in it."""
    network.requires_grad_(False)
    try:
        yield network
    finally:
        network.requires_grad_(True)


def slab_of(volume: Tensor, first: int) -> Tensor:
    """Return S^H(x; r), the slices [first, first + S/8) of volumes (B, 1, S, S, S)."""
    return volume[:, :, first : first + volume.shape[2] // SLABS]


def small_of(volume: Tensor) -> Tensor:
    """Return x^L, volumes of a quarter of the side: means of 4 x 4 x 4 voxels."""
    return F.avg_pool3d(volume, 4)


def one_hot(modality: Tensor) -> Tensor:
    """Return (B, modalities) float32 of numbers (B,) in the order of MODALITIES."""
    return F.one_hot(modality, len(MODALITIES)).float()


def in_cube(volume: Tensor, side: int) -> Tensor:
    """Return volumes (B, 1, R, A, S) in [0, 1] as cubes in [-1, 1], empty around the volume."""
    margins: list[int] = []
    for size in reversed(volume.shape[2:]):
        before = (side - size) // 2
        margins += [before, side - size - before]
    return F.pad(2 * volume - 1, margins, value=-1.0)


def out_of_cube(cube: Tensor, shape: Shape) -> Tensor:
    """Return the study's volume (B, 1, *shape) in [0, 1] from the middle of cubes in [-1, 1]."""
    corner = [(cube.shape[2] - size) // 2 for size in shape]
    where = [slice(first, first + size) for first, size in zip(corner, shape, strict=True)]
    return (cube[:, :, *where] / 2 + 0.5).clamp(0, 1)


def config_text(
    name: str, network: HaganNetwork, modalities: Sequence[str], shape: Shape, spacing: float
) -> str:
    """Return the text of config.json.

    Args:
        name: of the row of `gans`.
        network: its sizes.
        modalities: those that it was trained on, and so can make.
        shape: of the study's volumes.
        spacing: of their voxels, in mm.
    """
    content = {
        "kind": "gan",
        "name": name,
        "network": network.model_dump(mode="json"),
        "modalities": list(modalities),
        "shape": list(shape),
        "spacing": spacing,
    }
    return json.dumps(content, indent=1) + "\n"


def load(folder: Path) -> tuple[Networks, dict[str, Any]]:
    """Load trained networks (their average) in eval mode, frozen, and what config.json tells.

    Raises:
        UserError: the folder holds none.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        network = TypeAdapter(HaganNetwork).validate_python(config["network"])
        config |= {key: tuple(config[key]) for key in ("modalities", "shape")}
        config["spacing"], config["network"] = float(config["spacing"]), network
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the GAN, or name another folder") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not describe a trained GAN: {reason}") from None
    networks = Networks(network)
    load_weights(networks, folder / "model.safetensors")
    return networks.eval().requires_grad_(False), config
