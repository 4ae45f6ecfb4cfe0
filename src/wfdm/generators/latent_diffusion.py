"""Latent diffusion: noise, a denoiser, a sampler, the compressor's decoder (2.5.3-2.5.5)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wfdm.accelerator import accelerator
from wfdm.config.cohort import Modality
from wfdm.config.denoisers import RectifiedFlowSettings
from wfdm.config.generators import DiffusionSettings
from wfdm.data.metadata import Statistics
from wfdm.data.paths import SPACE
from wfdm.data.volumes import model_affine
from wfdm.generators.latents import decode, start_noise
from wfdm.generators.protocol import Request, Sample, refuse_others
from wfdm.latents.compressor import load_compressor
from wfdm.latents.space import LatentSpace
from wfdm.latents.standard import FILE as STANDARD
from wfdm.latents.standard import Standard
from wfdm.models.compressors.base import Compressor
from wfdm.models.denoisers import folder as denoisers
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.unet import Denoiser
from wfdm.processes.samplers import SAMPLERS
from wfdm.provenance.digests import sha256_of

# Samples are made one by one, so that each one's bits depend on no other request. On the CPU
# each is denoised beside a copy of itself: torch's fast 3D convolutions start at two items, and
# two are done sooner than one.
CPU_COPIES = 2


@dataclass(frozen=True)
class LatentDiffusion:
    """A denoiser with its compressor, process and sampler, ready to use.

    Attributes:
        name: of the denoiser; part of the noise's seed.
        modalities: those that it was trained on.
        space: scale and shape of its latents.
        standard: how the denoiser sees them, on `device`.
        compressor: frozen, on `device`.
        denoiser: frozen, on `device`.
        process: settings of the process that it was trained for.
        sampler: name in `wfdm.processes.samplers`.
        steps: of the sampler.
        statistics: of the numeric metadata fields, as in training.
        digests: sha256 of each model's weights.
        device: where it computes.
    """

    name: str
    modalities: tuple[Modality, ...]
    space: LatentSpace
    standard: Standard
    compressor: Compressor
    denoiser: Denoiser
    process: RectifiedFlowSettings
    sampler: str
    steps: int
    statistics: Statistics
    digests: Mapping[str, str]
    device: torch.device

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar of a sample says of how it was made."""
        return {
            "Denoiser": self.name,
            "Sampler": self.sampler,
            "SamplingSteps": self.steps,
            "Seed": seed,
            "ModelSHA256": dict(self.digests),
            "LatentScale": self.space.scale,
            "SkullStripped": True,
            "Space": SPACE,
        }

    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield clamp(D(z_0 / s_z), 0, 1) for each request, float32 of the study's shape.

        The sampler carries z_1, the request's own noise, to z_0.
        """
        refuse_others(self, requests, self.name)
        for request in requests:
            latent = self.denoise(request, start_noise(self.space, self.name, request, seed))
            volume = decode(self.compressor, self.space, latent)
            affine = model_affine(self.space.volume_shape, self.space.spacing)
            yield Sample(request, volume, affine)

    @torch.no_grad()
    def denoise(self, request: Request, noise: Tensor) -> Tensor:
        """Carry noise z_1 (C, d, h, w) of one request to its scaled latent z_0."""
        copies = CPU_COPIES if self.device.type == "cpu" else 1
        conditions = Conditions.of([request.modality], [request.metadata], self.statistics)
        told = conditions.to(self.device).repeated(copies)

        process = import_module(self.process.implementation)

        def velocity(state: Tensor, t: float) -> Tensor:
            times = state.new_full((copies,), t)
            return process.predicted(self.denoiser(state, times, told), state, times, self.process)

        times = process.sampling_times(self.steps, self.space.shape, self.process)
        start = noise.to(self.device)[None].repeat_interleave(copies, 0)
        made = SAMPLERS[self.sampler](velocity, start, times)
        return self.standard.scaled(made, told.modality)[0]


def load(
    folder: Path | str,
    sampler: str = DiffusionSettings.model_fields["sampler"].default,
    steps: int = DiffusionSettings.model_fields["steps"].default,
) -> LatentDiffusion:
    """Load a trained denoiser and the compressor that its config.json names.

    Args:
        folder: of the denoiser.
        sampler: one of `wfdm.processes.samplers.SAMPLERS`.
        steps: of the sampler (paper: 50).

    Raises:
        UserError: either is missing, or is not what the other was trained with.
    """
    folder = Path(folder)
    denoiser, config = denoisers.load(folder)
    space = LatentSpace.from_dict(config["latent_space"], folder)
    device = accelerator()
    digests = {
        "compressor": space.compressor_sha256,
        "standard": sha256_of(folder / STANDARD),
    }
    return LatentDiffusion(
        name=config["name"],
        modalities=config["modalities"],
        space=space,
        standard=Standard.read(folder).to(device),
        compressor=load_compressor(space).to(device),
        denoiser=denoiser.to(device),
        process=config["process"],
        sampler=sampler,
        steps=steps,
        statistics=config["statistics"],
        digests=digests | {"denoiser": sha256_of(folder / "model.safetensors")},
        device=device,
    )


def of_row(name: str, row: DiffusionSettings, source: Path) -> LatentDiffusion:
    """Return a row of table 4; `source` is the denoiser's model.safetensors."""
    return load(source.parent, row.sampler, row.steps)
