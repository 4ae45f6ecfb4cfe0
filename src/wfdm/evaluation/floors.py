"""What no trained model may fall below: the mean training volume, and what it recognises."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from wfdm.atomic import atomic_path
from wfdm.config.volumes import VolumeSettings
from wfdm.data.shards import each_once
from wfdm.data.table import MODALITIES, rows_of
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError, damaged
from wfdm.evaluation import reconstruction
from wfdm.log import progress
from wfdm.models.features import lpips

ALL = "all"
SAME_ANSWER = "Mean training volume (reference)"
SAME_MODALITY = "Mean training volume of the modality (reference)"


def mean_volumes(
    volumes: pd.DataFrame, settings: VolumeSettings, out: Path | str
) -> dict[str, np.ndarray]:
    """Average the training scans, one volume in memory at a time, and write them to `out`.

    Args:
        volumes: scans of the training split with columns scan_id, modality, path.
        settings: of the tensor that every model sees.
        out: one safetensors file.

    Returns:
        float32 (1, *shape) means in [0, 1]: one per modality that occurs, and "all" over all
        scans (so that the modalities weigh as they occur).
    """
    sums: dict[str, np.ndarray] = {}
    for scan in progress(rows_of(volumes), "mean volumes", len(volumes)):
        volume = load_standardised(scan["path"], settings)
        for name in (scan["modality"], ALL):
            sums.setdefault(name, np.zeros(volume.shape, np.float64))
            sums[name] += volume
    if not sums:
        raise UserError("mean volumes: the training split has no preprocessed scan")
    counts = volumes["modality"].value_counts().to_dict() | {ALL: len(volumes)}
    means = {name: (total / counts[name]).astype(np.float32) for name, total in sums.items()}
    with atomic_path(out) as temporary:
        save_file(means, temporary)
    return means


def read_means(path: Path | str) -> dict[str, np.ndarray]:
    """Read the file that `mean_volumes` wrote. Raises UserError when it is damaged."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise damaged(path, error) from None


def mean_volume_rows(
    means: dict[str, np.ndarray],
    volumes: pd.DataFrame,
    settings: VolumeSettings,
    out: Path,
    identity: str,
    device: torch.device | str = "cpu",
    network: lpips.Lpips | None = None,
) -> pd.DataFrame:
    """Score "always the mean training volume" on test scans: reference rows of table 3.

    Two references: the mean of all training scans for every scan (SAME_ANSWER), and the
    mean of the scan's own modality, which is harder to beat (SAME_MODALITY; skipped for a scan
    whose modality the training split lacks).

    Args:
        means: as `mean_volumes` returns.
        volumes: test scans with columns scan_id, modality, path.
        settings: of the tensor that every model sees.
        out: where the table will go; what a killed run measured is kept beside it.
        identity: of settings, inputs and code.
        device: where the metrics are computed.
        network: LPIPS, on that device.

    Returns:
        The columns of `reconstruction.COLUMNS` after a column `reference`.
    """
    answers = {name: torch.from_numpy(mean)[None].to(device) for name, mean in means.items()}
    scans = {row["scan_id"]: row for row in rows_of(volumes)}

    def rows(scan_id: str) -> list[dict[str, Any]]:
        modality = scans[scan_id]["modality"]
        real = reconstruction.load_tensor(scans[scan_id]["path"], settings, device)
        key = {"scan_id": scan_id, "modality": modality}
        return [
            {"reference": reference, **key, **reconstruction.compare(answers[name], real, network)}
            for reference, name in ((SAME_ANSWER, ALL), (SAME_MODALITY, modality))
            if name in answers
        ]

    done = each_once(scans, rows, out, identity, "mean volume floor")
    found = [row for _, part in done for row in part]
    return pd.DataFrame(found, columns=["reference", *reconstruction.COLUMNS])


def recognise(volume: np.ndarray, means: dict[str, np.ndarray]) -> str:
    """Return the modality whose mean training volume is nearest to `volume` in L2.

    Args:
        volume: standardised, (1, *shape), in [0, 1].
        means: as `mean_volumes` returns; "all" is no class.
    """
    distances = {
        modality: float(np.square(volume - means[modality], dtype=np.float64).sum())
        for modality in MODALITIES
        if modality in means
    }
    return min(distances, key=distances.__getitem__)
