"""From volumes to features: one row per volume, from a fixed network that is named in the file."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wfdm.config.features import FeatureSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.mean_volumes import ALL, read_intensities, read_means, recognise
from wfdm.data.shards import each_once
from wfdm.data.table import MODALITIES, rows_of
from wfdm.data.volumes import load_scan
from wfdm.errors import UserError
from wfdm.evaluation.features import Features, write
from wfdm.models.features import medicalnet


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
