"""Latent diffusion: noise, a denoiser, a sampler, the compressor's decoder (2.5.3-2.5.5)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wfdm.accelerator import accelerator
from wfdm.config.cohort import Modality
from wfdm.config.compressors import Architecture
from wfdm.config.denoisers import NetworkSettings, ProcessSettings
from wfdm.config.generators import DiffusionSettings, SamplerSettings
from wfdm.data.metadata import Statistics, load_schema
from wfdm.data.paths import SPACE
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import model_affine
from wfdm.errors import UserError
from wfdm.generators.guard import guarded
from wfdm.generators.inference import Engine
from wfdm.generators.latents import decoded
from wfdm.generators.path import ConditionalPath
from wfdm.generators.protocol import Request, Sample, refuse_others
from wfdm.latents.compressor import load_compressor
from wfdm.latents.noise import start_noise, step_noise
from wfdm.latents.space import LatentSpace
from wfdm.latents.standard import FILE as STANDARD
from wfdm.latents.standard import Standard
from wfdm.models.compressors import registry
from wfdm.models.compressors.base import Compressor
from wfdm.models.denoisers import folder as denoisers
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.network import Network
from wfdm.processes.samplers import carry
from wfdm.provenance.digests import sha256_of

PUBLISHED = SamplerSettings()


@dataclass(frozen=True)
class LatentDiffusion:
    """A denoiser with its compressor, process and sampler, ready to use.

    Attributes:
        name: of the denoiser.
        noise: part of the noise's seed: the name, or of a distilled denoiser its teacher's, so that
            both make the same volume of it; and which draw it is, after the first.
        modalities: those that it was trained on.
        space: scale and shape of its latents.
        standard: how the denoiser sees them, on `device`.
        denoiser: frozen, on `device`: it embeds times and conditions.
        compressor: frozen, on `device`: what is clamped passes through it.
        engine: denoiser and compressor, as fast as the sampling asks.
        process: settings of the process that it was trained for.
        age_group_from_age: whether its scans had their age group from their age.
        sampling: how noise becomes a sample.
        statistics: of the numeric metadata fields, as in training.
        digests: sha256 of each model's weights.
        device: where it computes.
    """

    name: str
    noise: str
    modalities: tuple[Modality, ...]
    space: LatentSpace
    standard: Standard
    denoiser: Network
    compressor: Compressor
    engine: Engine
    process: ProcessSettings
    age_group_from_age: bool
    sampling: SamplerSettings
    statistics: Statistics
    digests: Mapping[str, str]
    device: torch.device

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar of a sample says of how it was made."""
        eta = {"SamplerEta": self.sampling.eta} if self.sampling.sampler == "ddim" else {}
        clamped = {"Clamped": True} if self.sampling.clamp else {}
        return {
            "Denoiser": self.name,
            "Noise": self.noise,
            "Sampler": self.sampling.sampler,
            "SamplingSteps": self.sampling.steps,
            **eta,
            **clamped,
            "Guidance": self.sampling.guidance,
            "Inference": self.sampling.inference.numbers(),
            "Seed": seed,
            "ModelSHA256": dict(self.digests),
            "LatentScale": self.space.scale,
            "SkullStripped": True,
            "Space": SPACE,
        }

    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield clamp(D(z_0 / s_z), 0, 1) for each request, float32 of the study's shape.

        The sampler carries z_1, the request's own noise, to z_0. On the CPU, with one number of
        threads, a sample's bits depend on its request and seed alone; on a GPU the rounding of its
        last bits depends on the size of the batch too.
        """
        refuse_others(self, requests, self.name)
        affine = model_affine(self.space.volume_shape, self.space.spacing)
        size = self.sampling.batch
        for batch in (requests[i : i + size] for i in range(0, len(requests), size)):
            for request, latent in zip(batch, self.denoise(batch, seed), strict=True):
                yield Sample(request, decoded(self.engine.decode, self.space, latent), affine)

    @torch.no_grad()
    def denoise(self, requests: Sequence[Request], seed: int) -> Tensor:
        """Return the scaled latents z_0 (B, C, d, h, w) of some requests, side by side."""
        rows = [request.metadata for request in requests]
        conditions = Conditions.of([each.modality for each in requests], rows, self.statistics)
        process = import_module(self.process.implementation)
        times = process.sampling_times(self.sampling.steps, self.space.shape, self.process)
        path = ConditionalPath(
            embed=self.denoiser.condition,
            answer=self.engine.answer,
            process=self.process,
            conditions=conditions.to(self.device),
            times=times,
            guidance=self.sampling.guidance,
            within=partial(self._clamped, modality=conditions.modality.to(self.device))
            if self.sampling.clamp
            else None,
        )
        names, shape = [request.name for request in requests], self.space.shape
        starts = [start_noise(shape, self.noise, name, seed) for name in names]

        def draw(step: int) -> Tensor:
            return step_noise(shape, self.noise, names, seed, step).to(self.device)

        start = torch.stack(starts).to(self.device)
        made = carry(self.sampling, path, start, times, draw)
        return self.standard.scaled(made, conditions.modality.to(self.device))

    def _clamped(self, x0: Tensor, modality: Tensor) -> Tensor:
        """Return data (B, C, d, h, w) whose volumes are in [0, 1].

        Each item is worked on alone, so that its bits do not depend on the batch.
        """
        scaled = self.standard.scaled(x0, modality) / self.space.scale
        volumes = [self.compressor.decode(each).clamp(0, 1) for each in scaled.split(1)]
        latents = torch.cat([self.compressor.encode(volume)[0] for volume in volumes])
        return self.standard.seen(latents * self.space.scale, modality)


def load(folder: Path | str, sampling: SamplerSettings = PUBLISHED) -> LatentDiffusion:
    """Load a trained denoiser and the compressor that its config.json names.

    Args:
        folder: of the denoiser.
        sampling: how noise becomes a sample.

    Raises:
        UserError: either is missing, or is not what the other was trained with, or the denoiser
            cannot be sampled so.
    """
    folder = Path(folder)
    denoiser, config = denoisers.load(folder)
    if misfit := sampling.misfit(config["process"], config["conditioning_dropout"]):
        raise UserError(f"{folder}: {misfit}")
    space = LatentSpace.from_dict(config["latent_space"], folder)
    device = accelerator()
    standard = Standard.read(folder).to(device)
    denoiser, compressor = denoiser.to(device), load_compressor(space).to(device)
    digests = {
        "compressor": space.compressor_sha256,
        "standard": sha256_of(folder / STANDARD),
    }
    return LatentDiffusion(
        name=config["name"],
        noise=config["noise"],
        modalities=config["modalities"],
        space=space,
        standard=standard,
        denoiser=denoiser,
        compressor=compressor,
        engine=guarded(denoiser, compressor, space, sampling.inference, config["name"]),
        process=config["process"],
        age_group_from_age=config["age_group_from_age"],
        sampling=sampling,
        statistics=config["statistics"],
        digests=digests | {"denoiser": sha256_of(folder / "model.safetensors")},
        device=device,
    )


def untrained(
    name: str,
    sampling: SamplerSettings,
    network: NetworkSettings,
    process: ProcessSettings,
    architecture: Architecture,
    volume_shape: tuple[int, int, int],
) -> LatentDiffusion:
    """Return a generator of random weights, for measurements: it has learned nothing.

    Raises:
        UserError: the process cannot be sampled so, or the sides of the volume do not divide.
    """
    if misfit := sampling.misfit(process, conditioning_dropout=1):
        raise UserError(f"{name}: {misfit}")
    torch.manual_seed(0)
    compressor = registry.build(architecture).eval().requires_grad_(False)
    factor = compressor.factor
    if any(side % (factor * network.divisor) for side in volume_shape):
        divisor = factor * network.divisor
        raise UserError(f"{name}: the sides of {volume_shape} must be multiples of {divisor}")
    with torch.no_grad():
        channels = compressor.encode(torch.zeros(1, 1, *[8 * factor] * 3))[0].shape[1]
    depth, height, width = (side // factor for side in volume_shape)
    latent_shape = (channels, depth, height, width)
    denoiser = denoisers.build(network, latent_shape).eval().requires_grad_(False)
    zero, one = torch.zeros(len(MODALITIES), 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1)
    for weight in (*denoiser.parameters(), *compressor.parameters()):
        if weight.dim() > 1 and not weight.any():  # of zeros no rounding could be seen
            torch.nn.init.kaiming_uniform_(weight, 5**0.5)
    device = accelerator()
    denoiser, compressor = denoiser.to(device), compressor.to(device)
    space = LatentSpace(1.0, latent_shape, volume_shape, 1.0, "", "")
    return LatentDiffusion(
        name=name,
        noise=name,
        modalities=MODALITIES,  # type: ignore[arg-type]
        space=space,
        standard=Standard(zero, one, zero, zero[:1]).to(device),
        denoiser=denoiser,
        compressor=compressor,
        engine=guarded(denoiser, compressor, space, sampling.inference, name),
        process=process,
        age_group_from_age=False,
        sampling=sampling,
        statistics={each.name: (0.0, 1.0) for each in load_schema().fields},
        digests={},
        device=device,
    )


def of_row(name: str, row: DiffusionSettings, source: Path) -> LatentDiffusion:
    """Return a row of table 4; `source` is the denoiser's model.safetensors."""
    first = load(source.parent, row)
    return first if row.draw == 1 else replace(first, noise=f"{first.noise}, draw {row.draw}")
