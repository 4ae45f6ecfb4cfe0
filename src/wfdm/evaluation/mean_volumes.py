"""Mean training volumes: what every model must beat, and what tells the modalities apart."""

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from wfdm.atomic import atomic_path
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES, rows_of
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError, damaged
from wfdm.log import progress

ALL = "all"


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
