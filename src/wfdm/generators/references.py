"""References of table 4: real scans, and what a generator that learned little would give.

None of them is synthetic, and their sidecars say so. Each gives as many volumes of a modality as
there are test scans, as every generator does: distances between few scans depend on their number.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from wfdm.accelerator import accelerator
from wfdm.config.cohort import Modality
from wfdm.config.generators import MeanSettings, ReconstructionSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.mean_volumes import read_means
from wfdm.data.paths import SPACE
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import load_standardised, model_affine
from wfdm.errors import UserError
from wfdm.generators.protocol import Request, Sample, refuse_others
from wfdm.log import log
from wfdm.models.compressors.base import Compressor
from wfdm.models.compressors.registry import load
from wfdm.provenance.digests import sha256_of
from wfdm.seeds import generator_for


def draw_real(
    training: pd.DataFrame, wanted: Mapping[str, int], seed: int, name: str
) -> pd.DataFrame:
    """Draw training scans of each modality without replacement, and warn where they do not suffice.

    Args:
        training: preprocessed training scans, columns scan_id, modality, path.
        wanted: how many of each modality: as many as there are test scans.
        seed: the study's.
        name: of the row of table 4; with the seed and the modality it fixes the draw.

    Returns:
        The rows that were drawn, in the order of scan_id.
    """
    drawn = [training[:0]]
    for modality in MODALITIES:
        scans = training[training["modality"] == modality].sort_values("scan_id")
        count = min(wanted.get(modality, 0), len(scans))
        if count < wanted.get(modality, 0):
            log.warning(
                f"{name}: {wanted[modality]} training scans of {modality} are needed to have as "
                f"many as test scans, but there are {count}; it has fewer"
            )
        places = generator_for(seed, "real", name, modality).permutation(len(scans))[:count]
        drawn.append(scans.iloc[places])
    return pd.concat(drawn).sort_values("scan_id", ignore_index=True)


@dataclass(frozen=True)
class Reconstructions:
    """Every request's own scan through a compressor: no generator in its latents can be better."""

    name: str
    compressor: Compressor
    digest: str
    volume: VolumeSettings
    spacing: float
    modalities: tuple[Modality, ...] = MODALITIES  # type: ignore[assignment]

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar says: that it is a scan's reconstruction, and which scan's."""
        return {
            "Synthetic": False,
            "Description": "A real scan, encoded and decoded by a compressor",
            "Sources": [str(request.source)],
            "ModelSHA256": {"compressor": self.digest},
            "SkullStripped": True,
            "Space": SPACE,
        }

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield clamp(D(mean of E(x)), 0, 1) of each request's scan x."""
        refuse_others(self, requests, self.name)
        affine = model_affine(self.volume.shape, self.spacing)
        for request in requests:
            if request.source is None:
                raise UserError(f"{request.name}: {self.name} needs a scan to reconstruct")
            scan = torch.from_numpy(load_standardised(request.source, self.volume))[None]
            mean, _ = self.compressor.encode(scan.to(accelerator()))
            made = self.compressor.decode(mean)[0, 0].float().clamp(0, 1)
            yield Sample(request, made.cpu().numpy(), affine)


@dataclass(frozen=True)
class MeanVolumes:
    """The mean training volume of the modality, whatever is asked: exact, and all alike."""

    name: str
    means: Mapping[str, np.ndarray]
    digest: str
    spacing: float

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that there are training scans of."""
        return tuple(name for name in MODALITIES if name in self.means)  # type: ignore[misc]

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar says: that it is the mean of real scans."""
        return {
            "Synthetic": False,
            "Description": f"The mean of all training scans of {request.modality}",
            "SourceSHA256": self.digest,
            "SkullStripped": True,
            "Space": SPACE,
        }

    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield the mean of each request's modality."""
        refuse_others(self, requests, self.name)
        for request in requests:
            mean = self.means[request.modality][0]
            shape = (mean.shape[0], mean.shape[1], mean.shape[2])
            yield Sample(request, mean, model_affine(shape, self.spacing))


def of_row(
    name: str,
    row: ReconstructionSettings | MeanSettings,
    source: Path,
    volume: VolumeSettings,
    spacing: float,
) -> Reconstructions | MeanVolumes:
    """Return a row of table 4; `source` is a compressor's weights, or the mean volumes."""
    digest = sha256_of(source)
    if row.kind == "mean":
        return MeanVolumes(name, read_means(source), digest, spacing)
    return Reconstructions(name, load(source.parent).to(accelerator()), digest, volume, spacing)
