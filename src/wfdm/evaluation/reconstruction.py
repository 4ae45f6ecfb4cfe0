"""Paired metrics of a compressor: every test volume against its reconstruction (table 3)."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import cast

import pandas as pd
import torch
from monai.metrics import MultiScaleSSIMMetric, PSNRMetric, SSIMMetric
from monai.metrics.regression import RegressionMetric
from tqdm import tqdm

from wfdm import models
from wfdm.config.volumes import VolumeSettings
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError

METRICS = ("PSNR", "SSIM", "MS-SSIM", "MSE", "LPIPS")
COLUMNS = ("scan_id", "modality", *METRICS)
SSIM_WINDOW = 11


def ms_ssim_kernel(shape: Sequence[int]) -> int:
    """Return the MS-SSIM window for volumes of `shape`: min(11, side // 16), made odd.

    Four halvings must leave at least one window, so the paper's 192 x 224 x 160 gives 9
    (authors' code). Raises UserError when the shortest side is under 48 voxels.
    """
    window = min(11, min(shape) // 16)
    if window < 3:
        raise UserError(
            f"volume.shape: MS-SSIM has five scales and cannot judge {tuple(shape)}; "
            "make every side at least 48 voxels"
        )
    return window - (window + 1) % 2


@cache
def _clamped_metrics(kernel: int) -> dict[str, RegressionMetric]:
    return {
        "PSNR": PSNRMetric(max_val=1.0),
        "SSIM": SSIMMetric(spatial_dims=3, data_range=1.0, win_size=SSIM_WINDOW),
        "MS-SSIM": MultiScaleSSIMMetric(spatial_dims=3, data_range=1.0, kernel_size=kernel),
    }


def compare(made: torch.Tensor, real: torch.Tensor) -> dict[str, float | None]:
    """Return the metrics of one volume `made` against its truth, both (1, 1, *shape).

    As the authors' code: PSNR (dB), SSIM (window 11) and MS-SSIM on values clamped to [0, 1],
    MSE on the values as they are. `real` lies in [0, 1]. LPIPS is None: its AlexNet backbone
    is not among the assets.
    """
    metrics = _clamped_metrics(ms_ssim_kernel(real.shape[2:]))
    clamped = made.clamp(0, 1)
    return {
        **{name: torch.as_tensor(m(clamped, real)).item() for name, m in metrics.items()},
        "MSE": float((made - real).double().square().mean()),
        "LPIPS": None,
    }


def load_tensor(
    path: Path | str, settings: VolumeSettings, device: torch.device | str
) -> torch.Tensor:
    """Return a standardised volume as a batch of one, (1, 1, *shape), on `device`."""
    return torch.from_numpy(load_standardised(path, settings))[None].to(device)


@torch.inference_mode()
def evaluate_compressor(
    folder: Path | str,
    volumes: pd.DataFrame,
    settings: VolumeSettings,
    threads: int = 1,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Reconstruct every volume from its posterior mean and compare, one volume at a time.

    Args:
        folder: a compressor's folder (`model.safetensors`, `config.json`).
        volumes: test scans with columns scan_id, modality, path.
        settings: of the tensor that every model sees.
        threads: of torch on the CPU.
        device: where the model runs.

    Returns:
        One row per scan with COLUMNS.
    """
    torch.set_num_threads(threads)
    model = cast(models.Compressor, models.load(folder).to(device))
    rows = []
    for scan in tqdm(volumes.itertuples(), "reconstruction", len(volumes), mininterval=5):
        real = load_tensor(scan.path, settings, device)
        mean, _ = model.encode(real)
        rows.append(
            {
                "scan_id": scan.scan_id,
                "modality": scan.modality,
                **compare(model.decode(mean).float(), real),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))
