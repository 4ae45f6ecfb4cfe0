"""Features of volumes: one row per volume, from a fixed network that is named in the file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from wfdm.atomic import atomic_path
from wfdm.config.features import FeatureSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.shards import each_once
from wfdm.data.table import rows_of
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError, damaged
from wfdm.evaluation.mean_volumes import read_means, recognise
from wfdm.models.features import medicalnet


@dataclass(frozen=True)
class Features:
    """Pooled features of n volumes, and what made them."""

    values: np.ndarray
    """float32 (n, d)"""
    scan_ids: tuple[str, ...]
    modalities: tuple[str, ...]
    nearest: tuple[str, ...]
    """modality whose mean training volume is nearest; "" where no means were given"""
    extractor: str
    """name of the network"""
    digest: str
    """sha256 of its weights"""
    intensity: str
    """mapping before the network"""

    @property
    def source(self) -> tuple[str, str, str]:
        """What made them: network, digest of its weights, mapping of intensities."""
        return self.extractor, self.digest, self.intensity

    def of(self, modality: str) -> np.ndarray:
        """Return the features of one modality, float64 (m, d).

        Double precision because the kernel of MMD subtracts large squares.
        """
        return self.values[np.array(self.modalities) == modality].astype(np.float64)


def mapped(volume: torch.Tensor, intensity: str) -> torch.Tensor:
    """Map intensities before the network.

    "zscore-volume" subtracts the mean and divides by the unbiased standard deviation of the
    whole volume, background included (medmetric's advice); "none" changes nothing.
    """
    if intensity == "none":
        return volume
    deviation = volume.std()
    if not deviation > 0:
        raise UserError("features: a volume is constant, so it has no z-score; look at its file")
    return (volume - volume.mean()) / deviation


def extract(
    volumes: pd.DataFrame,
    network: FeatureSettings,
    weights: Path | None,
    intensity: str,
    settings: VolumeSettings,
    out: Path,
    identity: str,
    device: torch.device | str = "cpu",
    means: Path | None = None,
) -> Features:
    """Extract the features of every volume and write them to `out` (safetensors).

    Real and synthetic volumes pass the same standardisation to [0, 1] (a second pass changes
    nothing), one volume at a time, so a row depends on its volume only.

    Args:
        volumes: columns scan_id, modality, path.
        network: which network.
        weights: its verified weights file; None for the declared stand-in.
        intensity: "zscore-volume" or "none".
        settings: of the tensor that every model sees.
        out: the file; what a killed run extracted is kept beside it.
        identity: of settings, inputs and code.
        device: where the network runs.
        means: mean training volumes (`mean_volumes`); with them each volume's nearest is told.
    """
    module, name, digest = medicalnet.build(network, weights)
    module = module.to(device)
    scans = {row["scan_id"]: row for row in rows_of(volumes)}
    classes = read_means(means) if means else {}

    @torch.inference_mode()
    def row(scan_id: str) -> tuple[list[float], str]:
        array = load_standardised(scans[scan_id]["path"], settings)
        volume = torch.from_numpy(array)[None].to(device)
        pooled = module.pooled(mapped(volume, intensity))[0].float().cpu().tolist()
        return pooled, recognise(array, classes) if classes else ""

    done = [found for _, found in each_once(scans, row, out, identity, "features")]
    features = Features(
        values=np.array([pooled for pooled, _ in done], np.float32),
        scan_ids=tuple(scans),
        modalities=tuple(row["modality"] for row in scans.values()),
        nearest=tuple(nearest for _, nearest in done),
        extractor=name,
        digest=digest,
        intensity=intensity,
    )
    _write(features, out)
    return features


def _write(features: Features, out: Path | str) -> None:
    about = {
        "scan_ids": features.scan_ids,
        "modalities": features.modalities,
        "nearest": features.nearest,
        "extractor": features.extractor,
        "digest": features.digest,
        "intensity": features.intensity,
    }
    with atomic_path(out) as temporary:
        # One metadata key: safetensors writes several in an order that changes from run to run.
        save_file({"features": features.values}, temporary, metadata={"about": json.dumps(about)})


def read_features(paths: Sequence[Path | str]) -> Features:
    """Read the files that `extract` wrote, shard by shard, as one in the order of scan_id.

    Raises:
        UserError: a file of another program, or of another network than the rest.
    """
    parts = [_read(path) for path in paths]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if part.source != first.source:
            raise UserError(
                f"{path}: features by {part.source}, but {paths[0]} has {first.source}; "
                "extract them again"
            )
    filled = [part for part in parts if part.scan_ids]
    if not filled:
        raise UserError(f"{paths[0]}: there is no volume to extract features from")
    scan_ids = np.concatenate([part.scan_ids for part in filled])
    order = np.argsort(scan_ids, kind="stable")
    modalities = np.concatenate([part.modalities for part in filled])
    nearest = np.concatenate([part.nearest for part in filled])
    return replace(
        first,
        values=np.concatenate([part.values for part in filled])[order],
        scan_ids=tuple(map(str, scan_ids[order])),
        modalities=tuple(map(str, modalities[order])),
        nearest=tuple(map(str, nearest[order])),
    )


def _read(path: Path | str) -> Features:
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("about", "null"))
            if about is None:
                raise UserError(f"{path}: not a features file of this pipeline; extract it again")
            values = file.get_tensor("features")
    except SafetensorError as error:
        raise damaged(path, error) from None
    return Features(
        values=values,
        scan_ids=tuple(about["scan_ids"]),
        modalities=tuple(about["modalities"]),
        nearest=tuple(about["nearest"]),
        extractor=about["extractor"],
        digest=about["digest"],
        intensity=about["intensity"],
    )
