"""How close reconstructions come to the scans, against what needs no training."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.open_study.data import Data
from benchmarks.gpu.open_study.learner import measuring
from wfdm.data.table import MODALITIES
from wfdm.models import haar
from wfdm.models.compressors.base import Compressor


def psnr(other: Tensor, real: Tensor) -> Tensor:
    """Return the PSNR in dB of each volume (n, 1, R, A, S), of range 1."""
    return -10 * torch.log10((other - real).square().mean((1, 2, 3, 4)).clamp(min=1e-12))


def detail(volumes: Tensor) -> Tensor:
    """Return the energy of the seven finest Haar bands of each volume: its sharpness."""
    return haar.forward(volumes)[:, 1:].square().sum((1, 2, 3, 4))


@measuring()
def reconstruct(model: Compressor, volumes: Tensor, batch: int = 4) -> Tensor:
    """Return clamp(D(mean of E(v))), in single precision."""
    parts = [model.decode(model.encode(part)[0]).clamp(0, 1) for part in volumes.split(batch)]
    return torch.cat(parts)


@measuring()
def measure(model: Compressor, data: Data, rows: Tensor) -> dict[str, float]:
    """Return L1, PSNR and relative detail of reconstructions, each the mean over `rows`."""
    real = data.real(rows)
    fake = reconstruct(model, real)
    return {
        "l1": float((fake - real).abs().mean()),
        "psnr": float(psnr(fake, real).mean()),
        "detail": float((detail(fake) / detail(real)).mean()),
    }


@measuring()
def floors_and_test(model: Compressor, start: Compressor, data: Data) -> list[dict[str, Any]]:
    """Return PSNR on each held-out split and modality: the model, its start, the mean volume."""
    rows = []
    for split in ("train", "validation", "test"):
        for modality, name in enumerate(MODALITIES):
            chosen = data.split[split][data.modalities[data.split[split]] == modality]
            fit = data.split["train"][data.modalities[data.split["train"]] == modality]
            if not len(chosen) or not len(fit):
                continue
            chosen = chosen[:24]
            real, mean = data.real(chosen), data.real(fit).mean(0, keepdim=True)
            fakes = {
                "model": reconstruct(model, real),
                "haar_start": reconstruct(start, real),
                "mean_volume": mean.expand_as(real),
            }
            for kind, fake in fakes.items():
                inside = real > 0
                brain = torch.stack(
                    [(f - r)[i].square().mean() for f, r, i in zip(fake, real, inside, strict=True)]
                )
                values = psnr(fake, real)
                rows.append(
                    {
                        "split": split,
                        "modality": name,
                        "reconstruction": kind,
                        "n": len(chosen),
                        "psnr": float(values.mean()),
                        "psnr_sd": float(values.std()) if len(values) > 1 else 0.0,
                        "psnr_in_brain": float((-10 * torch.log10(brain)).mean()),
                        "l1": float((fake - real).abs().mean()),
                        "detail": float((detail(fake) / detail(real)).mean()),
                    }
                )
    return rows
