"""Completion: a missing modality of a session, from the scans of it that are there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wfdm.config.cohort import Modality
from wfdm.config.generators import SamplerSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES, MODALITY_IDS, check_modality
from wfdm.data.volumes import model_affine, read_image, standardise
from wfdm.errors import UserError
from wfdm.generators import latent_diffusion
from wfdm.generators.inference import exact, rounding
from wfdm.generators.latent_diffusion import LatentDiffusion
from wfdm.generators.latents import decoded
from wfdm.generators.path import ConditionalPath
from wfdm.generators.protocol import Request, Sample, refuse_others
from wfdm.latents.noise import start_noise, step_noise
from wfdm.models.denoisers import branch_folder
from wfdm.models.denoisers.branch import Branch
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.controlled import Controlled
from wfdm.models.denoisers.sources import Sources
from wfdm.models.denoisers.unet import Denoiser
from wfdm.processes.samplers import carry
from wfdm.provenance.digests import sha256_of

DESCRIPTION = (
    "Synthetic brain MRI of one modality, made by a generative model from other scans of the "
    "session; no scanner made it"
)
KEPT = 8
"""sources whose latents are kept: of two sessions, which are worked on one after the other"""


@dataclass(frozen=True)
class Completing(Request):
    """One volume that is asked for, and what it is made from.

    Attributes:
        sources: preprocessed volumes of the session, by modality.
    """

    sources: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Completion:
    """A control branch on a frozen denoiser, ready to use.

    Attributes:
        name: of the completion; part of the noise's seed.
        modalities: that it was trained to make.
        frozen: the denoiser with all that belongs to it; its own samples do not change.
        branch: frozen, on the denoiser's device.
        volume: how sources become tensors.
        draws: of which the mean latent is decoded.
        digest: sha256 of the branch's weights.
    """

    name: str
    modalities: tuple[Modality, ...]
    frozen: LatentDiffusion
    branch: Branch
    volume: VolumeSettings
    draws: int
    digest: str

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar of a completed scan says of how it was made."""
        sources = self._sources_of(request)
        made = self.frozen.made_by(request, seed)
        return {
            "Description": DESCRIPTION,
            "Completion": self.name,
            "Draws": self.draws,
            "SourceModalities": list(sources),
            "Sources": [str(path) for path in sources.values()],
            "SourceSHA256": [self._digest(path) for path in sources.values()],
            **made,
            "ModelSHA256": made["ModelSHA256"] | {"completion": self.digest},
        }

    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield clamp(D(z_0 / s_z), 0, 1) for each request, float32 of the study's shape.

        Each is made alone: its bits depend on its request and the seed, and start from the noise of
        its name whatever it is made from.
        """
        refuse_others(self, requests, self.name)
        space = self.frozen.space
        affine = model_affine(space.volume_shape, space.spacing)
        for request in requests:
            latent, decode = self._completed(request, seed)
            yield Sample(request, decoded(decode, space, latent), affine)

    @torch.no_grad()
    def _completed(self, request: Request, seed: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the scaled latent (C, d, h, w) of a request, and the decoder in float32."""
        frozen, device = self.frozen, self.frozen.device
        given = self._sources_of(request)
        sources = Sources.of({name: self._seen(name, path) for name, path in given.items()})
        assert isinstance(frozen.denoiser, Denoiser)
        told = Controlled(frozen.denoiser, self.branch, sources).eval()
        engine = exact(told, frozen.compressor)
        conditions = Conditions.of([request.modality], [request.metadata], frozen.statistics)
        process = import_module(frozen.process.implementation)
        times = process.sampling_times(frozen.sampling.steps, frozen.space.shape, frozen.process)
        path = ConditionalPath(
            embed=told.condition,
            answer=engine.answer,
            process=frozen.process,
            conditions=conditions.to(device),
            times=times,
            guidance=1.0,
        )
        modality = conditions.modality.to(device)
        shape = frozen.space.shape
        total = torch.zeros(shape, device=device)
        for number in range(self.draws):
            name = f"{self.name} {number}" if number else self.name  # of the noise

            def draw(step: int, name: str = name) -> Tensor:
                return step_noise(shape, name, [request.name], seed, step).to(device)

            start = start_noise(shape, name, request.name, seed)[None].to(device)
            made = carry(frozen.sampling, path, start, times, draw)
            total += frozen.standard.scaled(made, modality)[0]
        return total / self.draws, engine.decode

    def _sources_of(self, request: Request) -> dict[str, Path]:
        """Return what a request is made from, in the order of the modalities.

        Raises:
            UserError: there is none, one of a modality that the denoiser does not know, or the one
                that is asked for.
        """
        given = request.sources if isinstance(request, Completing) else {}
        if not given:
            raise UserError(f"{request.name}: {self.name} needs a scan of the session at least")
        for modality in given:
            check_modality(modality, request.name)
            if modality not in self.frozen.modalities:
                raise UserError(f"{request.name}: {self.name} was not trained on {modality}")
        if request.modality in given:
            raise UserError(f"{request.name}: its {request.modality} is made from the others alone")
        return {name: given[name] for name in MODALITIES if name in given}

    def _seen(self, modality: str, path: Path) -> Tensor:
        """Return the latent (C, d, h, w) of a source, as the denoiser sees those of a modality."""
        number = torch.tensor([MODALITY_IDS[modality]], device=self.frozen.device)
        return self.frozen.standard.seen(self._encoded(path), number)[0]

    @cached_property
    def _encoded(self) -> Callable[[Path], Tensor]:
        """The scaled posterior mean (1, C, d, h, w) of a volume; the last few are kept."""

        def encoded(path: Path) -> Tensor:
            space = self.frozen.space
            image = read_image(path)
            if not np.allclose(image.header.get_zooms()[:3], space.spacing, atol=1e-3):
                sides = " x ".join(f"{side:g}" for side in image.header.get_zooms()[:3])
                raise UserError(
                    f"{path}: has voxels of {sides} mm, and {self.name} was trained on "
                    f"{space.spacing:g} mm: give a volume that the same study preprocessed"
                )
            volume = torch.from_numpy(standardise(np.asarray(image.dataobj), self.volume))
            with torch.no_grad(), rounding(tf32=False):
                mean, _ = self.frozen.compressor.encode(volume[None].to(self.frozen.device))
            return mean * space.scale

        return lru_cache(KEPT)(encoded)

    @cached_property
    def _digest(self) -> Callable[[Path], str]:
        return lru_cache(None)(sha256_of)


def load(folder: Path | str, sampling: SamplerSettings, draws: int = 1) -> Completion:
    """Load a trained branch, and the denoiser and the compressor that it belongs to.

    Args:
        folder: of the completion.
        sampling: how noise becomes a scan; in float32, without guidance.
        draws: of which the mean latent is decoded.

    Raises:
        UserError: one of them is missing or is not what the next was trained with, or the denoiser
            cannot be sampled so.
    """
    folder = Path(folder)
    about = branch_folder.read(folder)
    frozen = latent_diffusion.load(about.denoiser, sampling)
    if not isinstance(frozen.denoiser, Denoiser):
        raise UserError(f"{about.denoiser}: a branch controls a U-Net of kind unet, and none else")
    network, channels = frozen.denoiser.settings, frozen.space.shape[0]
    return Completion(
        name=about.name,
        modalities=tuple(about.modalities),  # type: ignore[arg-type]
        frozen=frozen,
        branch=branch_folder.load(folder, about, network, channels).to(frozen.device),
        volume=about.volume,
        draws=draws,
        digest=sha256_of(folder / "model.safetensors"),
    )
