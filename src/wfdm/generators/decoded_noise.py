"""Decoded noise: the floor of table 4. What a generator that learned nothing would make."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wfdm.accelerator import accelerator
from wfdm.config.cohort import Modality
from wfdm.config.generators import NoiseSettings
from wfdm.data.paths import SPACE
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import model_affine
from wfdm.generators.latents import decoded
from wfdm.generators.protocol import Request, Sample, refuse_others
from wfdm.latents.compressor import load_compressor
from wfdm.latents.noise import start_noise
from wfdm.latents.space import LatentSpace, read_space
from wfdm.models.compressors.base import Compressor


@dataclass(frozen=True)
class DecodedNoise:
    """Unit noise in the space of a compressor's latents, decoded; it ignores every condition."""

    name: str
    space: LatentSpace
    compressor: Compressor
    modalities: tuple[Modality, ...] = MODALITIES  # type: ignore[assignment]

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar of a sample says of how it was made."""
        return {
            "Seed": seed,
            "ModelSHA256": {"compressor": self.space.compressor_sha256},
            "LatentScale": self.space.scale,
            "SkullStripped": True,
            "Space": SPACE,
        }

    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield the decoded noise of each request."""
        refuse_others(self, requests, self.name)
        affine = model_affine(self.space.volume_shape, self.space.spacing)
        for request in requests:
            own = start_noise(self.space.shape, self.name, request.name, seed)
            noise = own.to(accelerator())
            volume = decoded(self.compressor.decode, self.space, noise)
            yield Sample(request, volume, affine)


def load(name: str, latents: Path) -> DecodedNoise:
    """Return the reference in the space of the folder `latents`."""
    space = read_space(latents)
    return DecodedNoise(name, space, load_compressor(space).to(accelerator()))


def of_row(name: str, row: NoiseSettings, source: Path) -> DecodedNoise:
    """Return a row of table 4; `source` is the scale.json of the latents."""
    return load(name, source.parent)
