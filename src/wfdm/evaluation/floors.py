"""What no compressor may fall below: the mean training volume as the answer to every scan."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from wfdm.config.volumes import VolumeSettings
from wfdm.data.mean_volumes import ALL
from wfdm.data.shards import each_once
from wfdm.data.table import rows_of
from wfdm.evaluation import reconstruction
from wfdm.models.features import lpips

SAME_ANSWER = "Mean training volume (reference)"
SAME_MODALITY = "Mean training volume of the modality (reference)"


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
