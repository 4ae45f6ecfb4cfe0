"""From requests to synthetic volumes: load a generator, denoise, decode (paper, 2.5.3-2.5.5)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wfdm.config.generators import RectifiedFlow
from wfdm.data.metadata import Statistics, encode
from wfdm.data.table import MODALITIES, MODALITY_IDS
from wfdm.errors import UserError
from wfdm.models.compressor import Compressor
from wfdm.models.unet import Denoiser, load_denoiser
from wfdm.provenance.records import sha256_of
from wfdm.sampling.samplers import euler
from wfdm.sampling.schedules import rflow_times, spatial_voxels
from wfdm.seeds import seed_for
from wfdm.training.latents import LatentSpace, read_space

# Samples are made one by one, so that each one's bits depend on no other request. On the CPU
# each is denoised beside a copy of itself: torch's fast 3D convolutions start at two items, and
# two are done sooner than one.
CPU_COPIES = 2


@dataclass(frozen=True)
class Request:
    """One volume that is asked for.

    Attributes:
        name: a scan_id or a label; with seed and generator it decides the noise.
        modality: one of MODALITIES.
        metadata: recorded fields only need be there.
    """

    name: str
    modality: str
    metadata: Mapping[str, object]


@dataclass(frozen=True)
class Generator:
    """A generator, ready to use.

    Attributes:
        name: as in the study.
        space: scale and shape of its latents.
        compressor: frozen, on `device`.
        denoiser: frozen, on `device`; None decodes unit noise (the floor of table 4).
        process: times of the sampler.
        statistics: of the numeric metadata fields, as in training.
        digests: sha256 of each model's weights.
        device: where it computes.
    """

    name: str
    space: LatentSpace
    compressor: Compressor
    denoiser: Denoiser | None
    process: RectifiedFlow | None
    statistics: Statistics | None
    digests: Mapping[str, str]
    device: torch.device


def load_generator(folder: Path) -> Generator:
    """Load a trained generator and the compressor that its config.json names.

    Raises UserError when either is missing or is not what the other was trained with.
    """
    denoiser, config = load_denoiser(folder)
    space = LatentSpace.from_dict(config["latent_space"], folder)
    device = _device()
    return Generator(
        name=config["name"],
        space=space,
        compressor=space.load_compressor().to(device),
        denoiser=denoiser.to(device),
        process=RectifiedFlow.model_validate(config["process"]),
        statistics={name: tuple(pair) for name, pair in config["statistics"].items()},
        digests=_digests(space) | {"generator": sha256_of(folder / "model.safetensors")},
        device=device,
    )


def noise_generator(name: str, latents: Path) -> Generator:
    """Return the reference that decodes unit noise in the space of the folder `latents`."""
    space, device = read_space(latents), _device()
    compressor = space.load_compressor().to(device)
    return Generator(name, space, compressor, None, None, None, _digests(space), device)


def generate(
    generator: Generator, requests: Iterable[Request], steps: int | None, seed: int
) -> Iterator[tuple[Request, np.ndarray]]:
    """Yield each request with its volume, float32 of the study's shape, RAS, in [0, 1].

    z_1 is unit noise from the request's own generator on the CPU, named by (seed, "sample",
    generator, request), so it depends on neither device, order nor the other requests; Euler
    steps carry it to z_0, and the volume is clamp(D(z_0 / s_z)) (paper, 2.5.3-2.5.4).

    Args:
        generator: see `load_generator` and `noise_generator`.
        requests: what to make.
        steps: of the sampler; without meaning for the noise reference.
        seed: the study's.

    Raises:
        UserError: unknown modality, metadata the schema does not know, or no steps.
    """
    for request in requests:
        latent = start_noise(generator, request, seed)
        if generator.denoiser is not None:
            latent = denoise(generator, request, latent, steps)
        yield request, decode(generator, latent)


def start_noise(generator: Generator, request: Request, seed: int) -> Tensor:
    """Return z_1 of one request, float32 (C, d, h, w), on the CPU."""
    own = torch.Generator().manual_seed(seed_for(seed, "sample", generator.name, request.name))
    return torch.randn(generator.space.shape, generator=own)


@torch.no_grad()
def denoise(generator: Generator, request: Request, noise: Tensor, steps: int | None) -> Tensor:
    """Carry noise z_1 (C, d, h, w) of one request to its scaled latent z_0."""
    denoiser, process = generator.denoiser, generator.process
    if denoiser is None or process is None or not steps:
        raise UserError(f"{generator.name}: sampling_steps is not given")
    copies = CPU_COPIES if generator.device.type == "cpu" else 1
    conditions = [part.repeat_interleave(copies, 0) for part in _conditions(generator, request)]

    def velocity(state: Tensor, t: float) -> Tensor:
        return denoiser(state, state.new_full((copies,), t), *conditions)

    times = rflow_times(steps, spatial_voxels(generator.space.shape), process.reference_voxels)
    start = noise.to(generator.device)[None].repeat_interleave(copies, 0)
    return euler(velocity, start, times)[0]


@torch.no_grad()
def decode(generator: Generator, latent: Tensor) -> np.ndarray:
    """Return clamp(D(z_0 / s_z), 0, 1) of one latent (C, d, h, w), float32 (R, A, S)."""
    z = latent[None].to(generator.device) / generator.space.scale
    return generator.compressor.decode(z)[0, 0].clamp(0, 1).float().cpu().numpy()


def _conditions(generator: Generator, request: Request) -> tuple[Tensor, Tensor, Tensor]:
    """Return modality (1,), metadata values (1, 25) and mask (1, 25), on the device."""
    if request.modality not in MODALITY_IDS:
        raise UserError(
            f"{request.name}: unknown modality '{request.modality}': use {', '.join(MODALITIES)}"
        )
    values, mask = encode(request.metadata, generator.statistics)
    modality = torch.tensor([MODALITY_IDS[request.modality]])
    parts = modality, torch.from_numpy(values)[None], torch.from_numpy(mask)[None]
    modality, coded, recorded = (part.to(generator.device) for part in parts)
    return modality, coded, recorded


def _digests(space: LatentSpace) -> dict[str, str]:
    return {"compressor": space.compressor_sha256}


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
