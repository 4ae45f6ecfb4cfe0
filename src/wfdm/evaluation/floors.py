"""What no trained model may fall below: the mean training volume, and what it recognises."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from wfdm.atomic import atomic_path
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError
from wfdm.evaluation import reconstruction
from wfdm.models import lpips

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
    for scan in tqdm(volumes.itertuples(), "mean volumes", len(volumes), mininterval=5):
        volume = load_standardised(scan.path, settings)
        for name in (str(scan.modality), ALL):
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
    """Read the file that `mean_volumes` wrote."""
    return load_file(path)


def mean_volume_rows(
    means: dict[str, np.ndarray],
    volumes: pd.DataFrame,
    settings: VolumeSettings,
    threads: int = 1,
    device: torch.device | str = "cpu",
    network: lpips.Lpips | None = None,
) -> pd.DataFrame:
    """Score "always the mean training volume" on the test scans: reference rows of table 3.

    Two references: the mean of all training scans whatever is asked for (SAME_ANSWER), and the
    mean of the scan's own modality, which is harder to beat (SAME_MODALITY; skipped for a scan
    whose modality the training split lacks).

    Returns:
        The columns of `reconstruction.COLUMNS` after a column `reference`.
    """
    torch.set_num_threads(threads)
    answers = {name: torch.from_numpy(mean)[None].to(device) for name, mean in means.items()}
    rows = []
    for scan in tqdm(volumes.itertuples(), "mean volume floor", len(volumes), mininterval=5):
        real = reconstruction.load_tensor(scan.path, settings, device)
        key = {"scan_id": scan.scan_id, "modality": scan.modality}
        for reference, name in ((SAME_ANSWER, ALL), (SAME_MODALITY, scan.modality)):
            if name in answers:
                scores = reconstruction.compare(answers[name], real, network)
                rows.append({"reference": reference, **key, **scores})
    return pd.DataFrame(rows, columns=["reference", *reconstruction.COLUMNS])


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
