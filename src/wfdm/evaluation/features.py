"""Features of volumes: one row per volume, from a fixed network that is named in the file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from wfdm.atomic import atomic_path
from wfdm.config.features import FeatureSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.mean_volumes import ALL, read_intensities, read_means, recognise
from wfdm.data.shards import each_once
from wfdm.data.table import MODALITIES, rows_of
from wfdm.data.volumes import load_scan
from wfdm.errors import UserError, damaged
from wfdm.models.features import medicalnet


@dataclass(frozen=True)
class Features:
    """Pooled features of n volumes, and what made them."""

    values: Mapping[str, np.ndarray]
    """float32 (n, d) for each mapping of intensities before the network, the first one first"""
    scan_ids: tuple[str, ...]
    modalities: tuple[str, ...]
    nearest: tuple[str, ...]
    """modality whose mean training volume is nearest"""
    extractor: str
    """name of the network"""
    digest: str
    """sha256 of its weights"""

    @property
    def intensities(self) -> tuple[str, ...]:
        """The mappings of intensities before the network."""
        return tuple(self.values)

    @property
    def source(self) -> tuple[str, str, tuple[str, ...]]:
        """What made them: network, digest of its weights, mappings of intensities."""
        return self.extractor, self.digest, self.intensities

    def of(self, modality: str, intensity: str | None = None) -> np.ndarray:
        """Return the features of one modality, float64 (m, d), by default of the first mapping.

        Double precision because the kernel of MMD subtracts large squares.
        """
        found = self.values[intensity or self.intensities[0]]
        return found[np.array(self.modalities) == modality].astype(np.float64)


def mapped(
    volume: torch.Tensor, intensity: str, training: tuple[float, float] = (0, 1)
) -> torch.Tensor:
    """Map intensities before the network, background included.

    "zscore-volume" subtracts the volume's own mean and divides by its unbiased deviation
    (medmetric's advice): brightness and contrast are gone. "zscore-dataset" takes mean and
    deviation of the `training` scans of the modality (authors' code). "none" changes nothing.
    """
    if intensity == "none":
        return volume
    if intensity == "zscore-dataset":
        mean, spread = training
        return (volume - mean) / spread
    deviation = volume.std()
    if not deviation > 0:
        raise UserError("features: a volume is constant, so it has no z-score; look at its file")
    return (volume - volume.mean()) / deviation


def extract(
    volumes: pd.DataFrame,
    network: FeatureSettings,
    weights: Path | None,
    intensities: Sequence[str],
    settings: VolumeSettings,
    means: Path,
    out: Path,
    identity: str,
    device: torch.device | str = "cpu",
) -> Features:
    """Extract the features of every volume and write them to `out` (safetensors).

    A row depends on its volume and modality only. A volume that many rows name, as those of the
    modality's mean do, is looked at once.

    Args:
        volumes: columns scan_id, modality, path; of samples also range (`load_scan`).
        network: which network.
        weights: its verified weights file; None for the declared stand-in.
        intensities: mappings before the network (`mapped`).
        settings: of the tensor that every model sees.
        means: mean training volumes (`mean_volumes`), which tell what a volume is nearest to, and
            the intensities of the training scans. A modality that these lack is mapped as all are.
        out: the file; what a killed run extracted is kept beside it.
        identity: of settings, inputs and code.
        device: where the network runs.
    """
    module, name, digest = medicalnet.build(network, weights)
    module = module.to(device)
    scans = {row["scan_id"]: row for row in rows_of(volumes)}
    classes, training = read_means(means), read_intensities(means)

    @lru_cache(len(MODALITIES))
    @torch.inference_mode()
    def look(path: str, modality: str, given: str) -> tuple[list[list[float]], str]:
        array = load_scan({"path": path, "range": given}, settings)
        volume = torch.from_numpy(array)[None].to(device)
        moments = training.get(modality, training[ALL])
        shown = (mapped(volume, intensity, moments) for intensity in intensities)
        pooled = [module.pooled(each)[0].float().cpu().tolist() for each in shown]
        return pooled, recognise(array, classes)

    def row(scan_id: str) -> tuple[list[list[float]], str]:
        scan = scans[scan_id]
        return look(scan["path"], scan["modality"], scan.get("range", ""))

    done = [found for _, found in each_once(scans, row, out, identity, "features")]
    features = Features(
        values={
            intensity: np.array([pooled[place] for pooled, _ in done], np.float32)
            for place, intensity in enumerate(intensities)
        },
        scan_ids=tuple(scans),
        modalities=tuple(row["modality"] for row in scans.values()),
        nearest=tuple(nearest for _, nearest in done),
        extractor=name,
        digest=digest,
    )
    write(features, out)
    return features


def write(features: Features, out: Path | str) -> None:
    """Write features to a safetensors file."""
    about = {
        "scan_ids": features.scan_ids,
        "modalities": features.modalities,
        "nearest": features.nearest,
        "extractor": features.extractor,
        "digest": features.digest,
        "intensities": features.intensities,
    }
    with atomic_path(out) as temporary:
        # One metadata key: safetensors writes several in an order that changes from run to run.
        save_file(dict(features.values), temporary, metadata={"about": json.dumps(about)})


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
        values={
            intensity: np.concatenate([part.values[intensity] for part in filled])[order]
            for intensity in first.intensities
        },
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
            values = {name: file.get_tensor(name) for name in about["intensities"]}
    except SafetensorError as error:
        raise damaged(path, error) from None
    return Features(
        values=values,
        scan_ids=tuple(about["scan_ids"]),
        modalities=tuple(about["modalities"]),
        nearest=tuple(about["nearest"]),
        extractor=about["extractor"],
        digest=about["digest"],
    )
