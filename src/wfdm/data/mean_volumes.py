"""Mean training volumes: what every model must beat, and what tells the modalities apart.

Beside them the mean and deviation of the intensities of all training scans of a modality, by which
features are compared that still see brightness and contrast.
"""

import json
from collections import defaultdict
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
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
        scans (so that the modalities weigh as they occur). The file also holds what
        `read_intensities` reads.
    """
    sums: dict[str, np.ndarray] = {}
    squares: dict[str, float] = defaultdict(float)
    for scan in progress(rows_of(volumes), "mean volumes", len(volumes)):
        volume = load_standardised(scan["path"], settings).astype(np.float64)
        for name in (scan["modality"], ALL):
            sums[name] = sums.get(name, 0) + volume
            squares[name] += float(np.square(volume).sum())
    if not sums:
        raise UserError("mean volumes: the training split has no preprocessed scan")
    counts = volumes["modality"].value_counts().to_dict() | {ALL: len(volumes)}
    about = {name: _moments(sums[name], squares[name], counts[name]) for name in sums}
    means = {name: (total / counts[name]).astype(np.float32) for name, total in sums.items()}
    with atomic_path(out) as temporary:
        save_file(means, temporary, metadata={"intensities": json.dumps(about)})
    return means


def _moments(total: np.ndarray, squares: float, scans: int) -> tuple[float, float]:
    """Return mean and deviation over all voxels of some scans, given sums over the scans."""
    voxels = total.size * scans
    mean = float(total.sum()) / voxels
    return mean, sqrt(max(squares / voxels - mean**2, 0.0))


def read_intensities(path: Path | str) -> dict[str, tuple[float, float]]:
    """Read (mean, deviation) over all voxels of the training scans, by modality and of ALL.

    Raises:
        UserError: the file is damaged, or was made without them.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("intensities")
    except SafetensorError as error:
        raise damaged(path, error) from None
    if text is None:
        raise UserError(f"{path}: tells no intensities of the training scans; make it again")
    return {name: (mean, deviation) for name, (mean, deviation) in json.loads(text).items()}


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
