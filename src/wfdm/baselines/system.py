"""What all published systems share as generators: noise by name, the study's grid, the sidecar."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wfdm.baselines.grid import Affine, on_study_grid
from wfdm.config.baselines import PublishedSystem
from wfdm.config.cohort import Modality
from wfdm.config.volumes import VolumeSettings
from wfdm.data.paths import SPACE
from wfdm.data.volumes import model_affine
from wfdm.generators.protocol import Request, Sample, refuse_others
from wfdm.seeds import seed_for, torch_generator


@dataclass(frozen=True)
class Published(ABC):
    """A published system, ready to use.

    Attributes:
        name: of the row; part of the noise's seed.
        row: its settings.
        network: frozen, on `device`.
        digest: sha256 of the file of its weights.
        volume: of the study.
        spacing: of the study's grid, in mm.
        device: where it computes.
    """

    name: str
    row: PublishedSystem
    network: nn.Module
    digest: str
    volume: VolumeSettings
    spacing: float
    device: torch.device

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What its authors trained it on."""
        return self.row.modalities

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar of a sample says of how it was made."""
        steps = {"SamplingSteps": self.row.steps} if hasattr(self.row, "steps") else {}
        return {
            "System": self.row.label or self.name,
            "Citation": self.row.citation,
            "License": self.row.licence,
            **steps,
            "Seed": seed,
            "ModelSHA256": {"weights": self.digest},
            "SkullStripped": True,
            "Space": SPACE,
        }

    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield a sample for each request, on the study's grid, in the system's own intensities."""
        refuse_others(self, requests, self.name)
        shape = self.volume.shape
        affine = model_affine(shape, self.spacing)
        for request in requests:
            made, where = self.make(request, seed)
            yield Sample(request, on_study_grid(made, where, shape, self.spacing), affine)

    @abstractmethod
    def make(self, request: Request, seed: int) -> tuple[np.ndarray, Affine]:
        """Return the volume as its authors' code makes it, and where its voxels are in RAS, mm."""

    def noise(
        self, request: Request, seed: int, shape: tuple[int, ...], *step: str | int
    ) -> Tensor:
        """Return unit noise of a request, or of one of its steps, on `device`.

        It depends on the seed, the row's name, the request's and the step alone.
        """
        own = torch_generator(seed_for(seed, "sample", self.name, request.name, *step))
        return torch.randn(shape, generator=own).to(self.device)
