"""Paired metrics of a compressor: every test volume against its reconstruction (table 3)."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from monai.metrics import MultiScaleSSIMMetric, PSNRMetric, SSIMMetric
from monai.metrics.regression import RegressionMetric

from wfdm.config.features import LpipsSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.shards import each_once
from wfdm.data.table import rows_of
from wfdm.data.volumes import load_standardised
from wfdm.evaluation.ms_ssim import ms_ssim_kernel
from wfdm.models.compressors import registry
from wfdm.models.features import lpips

METRICS = ("PSNR", "SSIM", "MS-SSIM", "MSE", "LPIPS")
COLUMNS = ("scan_id", "modality", *METRICS)
LATENT = ("compression", "channels")
"""columns of a compressor's latent: 1/f per side, and its channels"""
SSIM_WINDOW = 11


@cache
def _clamped_metrics(kernel: int) -> dict[str, RegressionMetric]:
    return {
        "PSNR": PSNRMetric(max_val=1.0),
        "SSIM": SSIMMetric(spatial_dims=3, data_range=1.0, win_size=SSIM_WINDOW),
        "MS-SSIM": MultiScaleSSIMMetric(spatial_dims=3, data_range=1.0, kernel_size=kernel),
    }


def load_lpips(
    settings: LpipsSettings | None, files: Sequence[Path], device: torch.device | str
) -> lpips.Lpips | None:
    """Return the configured LPIPS on `device`; None where none is configured.

    Args:
        settings: what the files hold.
        files: backbone and heads, verified.
        device: where it runs.
    """
    return lpips.load(settings, *files).to(device) if settings else None


def compare(
    made: torch.Tensor, real: torch.Tensor, network: lpips.Lpips | None = None
) -> dict[str, float | None]:
    """Return the metrics of one volume `made` against its truth, both (1, 1, *shape).

    As the authors' code: PSNR (dB), SSIM (window 11), MS-SSIM and LPIPS on values clamped to
    [0, 1], MSE on the values as they are. `real` lies in [0, 1]. LPIPS is None without `network`.
    """
    metrics = _clamped_metrics(ms_ssim_kernel(real.shape[2:]))
    clamped = made.clamp(0, 1)
    return {
        **{name: torch.as_tensor(m(clamped, real)).item() for name, m in metrics.items()},
        "MSE": float((made - real).double().square().mean()),
        "LPIPS": None if network is None else float(network(real, clamped)),
    }


def load_tensor(
    path: Path | str, settings: VolumeSettings, device: torch.device | str
) -> torch.Tensor:
    """Return a standardised volume as a batch of one, (1, 1, *shape), on `device`."""
    return torch.from_numpy(load_standardised(path, settings))[None].to(device)


def evaluate_compressor(
    folder: Path | str,
    volumes: pd.DataFrame,
    settings: VolumeSettings,
    out: Path,
    identity: str,
    device: torch.device | str = "cpu",
    network: lpips.Lpips | None = None,
) -> pd.DataFrame:
    """Reconstruct every volume from its posterior mean and compare, one volume at a time.

    Args:
        folder: a compressor's folder (`model.safetensors`, `config.json`).
        volumes: test scans with columns scan_id, modality, path.
        settings: of the tensor that every model sees.
        out: where the table will go; what a killed run measured is kept beside it.
        identity: of settings, inputs and code.
        device: where the model runs.
        network: LPIPS, on that device.

    Returns:
        One row per scan with COLUMNS and LATENT.
    """
    model = registry.load(folder).to(device)
    scans = {row["scan_id"]: row for row in rows_of(volumes)}

    @torch.inference_mode()
    def row(scan_id: str) -> dict[str, Any]:
        real = load_tensor(scans[scan_id]["path"], settings, device)
        mean, _ = model.encode(real)
        return {
            "scan_id": scan_id,
            "modality": scans[scan_id]["modality"],
            **compare(model.decode(mean).float(), real, network),
            "compression": f"1/{real.shape[2] // mean.shape[2]}",
            "channels": mean.shape[1],
        }

    done = each_once(scans, row, out, identity, "reconstruction")
    return pd.DataFrame([found for _, found in done], columns=[*COLUMNS, *LATENT])
