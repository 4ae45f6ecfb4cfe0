"""Tables 3 and 8 to 11: reconstruction by compressor, over all scans and by modality."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from wfdm.errors import UserError
from wfdm.tables.measured import read_measured
from wfdm.tables.published import beside, read_published
from wfdm.tables.text import join, number

BY_MODALITY = {"T1w": 8, "T2w": 9, "T1Gd": 10, "FLAIR": 11}
"""tables of appendix A"""
LATENT, SHORT = ("Compression", "Latent chans"), ("Comp", "Chans")
"""how the paper calls a latent's compression and channels: in appendix A, in table 3"""
RANGES = "PSNR, SSIM, MS-SSIM, LPIPS of values clamped to [0, 1], MSE unclamped"
FORMATS = {"PSNR": ".2f", "SSIM": ".4f", "MS-SSIM": ".4f", "LPIPS": ".4f", "MSE": ".6f"}
"""the paper's own digits"""


def table3(
    compressors: Mapping[str, Path | str],
    floors: Path | str,
    published: Path | str,
    note: str = "",
    modality: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Reconstruction metrics as plain means over test scans (paper, tables 3 and 8 to 11).

    Args:
        compressors: per-scan CSV of `evaluate_compressor` by the compressor's key.
        floors: per-scan CSV of `mean_volume_rows`.
        published: the paper's table 3, or that of the modality.
        note: how this study differs (`differences`).
        modality: only its scans, beside its table of appendix A; by default all scans, each of
            the same weight, beside table 3.
        labels: what a compressor is called in the table, by its key; by default its key.

    Raises:
        UserError: an unknown modality, or a file that cannot be read.
    """
    if modality and modality not in BY_MODALITY:
        raise UserError(f"unknown modality '{modality}': use {', '.join(BY_MODALITY)}")
    latent = LATENT if modality else SHORT
    called = dict(labels or {})
    every = {key: read_measured(path, ("modality", *FORMATS)) for key, path in compressors.items()}
    reference = read_measured(floors, ("reference", "modality", *FORMATS))
    every |= {str(name): scans for name, scans in reference.groupby("reference")}
    if modality:
        every = {key: scans[scans["modality"] == modality] for key, scans in every.items()}
    ours = {key: _mean_row(called.get(key, key), scans, latent) for key, scans in every.items()}
    if not any(row["LPIPS"] for row in ours.values()):
        note = join(note, "LPIPS: not measured, evaluation.lpips is null")
    pairs = (*latent, "LPIPS", "SSIM", "MS-SSIM", "PSNR", "MSE")
    return beside(ours, read_published(published), pairs, ("n",), join(note, RANGES))


def _mean_row(label: str, scans: pd.DataFrame, latent: tuple[str, str]) -> dict[str, str]:
    means = {metric: number(scans[metric].mean(), style) for metric, style in FORMATS.items()}
    told = {}
    if "channels" in scans and len(scans):
        first = scans.iloc[0]
        told = dict(zip(latent, (str(first["compression"]), str(first["channels"])), strict=True))
    return {"Model": label, **told, **means, "n": str(len(scans))}
