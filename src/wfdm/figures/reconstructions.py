"""Figure 2: test scans and their reconstructions by each compressor."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import load_standardised
from wfdm.figures import panels
from wfdm.figures.planes import axial
from wfdm.models.compressors.base import Compressor
from wfdm.models.compressors.registry import load


@torch.inference_mode()
def figure2(
    compressors: Mapping[str, Path | str],
    volumes: pd.DataFrame,
    settings: VolumeSettings,
    seed: int,
    stem: Path | str,
    dpi: int,
    device: torch.device | str = "cpu",
) -> tuple[Path, Path]:
    """Draw one test scan per modality and its reconstruction by each compressor.

    Args:
        compressors: folder of each compressor by its label, in the order of the columns.
        volumes: test scans with columns scan_id, modality, path.
        settings: of the tensor that every model sees.
        seed: the study's; it chooses the scans.
        stem: path of the files without suffix.
        dpi: of the PNG.
        device: where the models run.

    Returns:
        The paths of the PDF and the PNG.
    """
    chosen = [panels.choose(volumes, modality, seed) for modality in MODALITIES]
    inputs = [
        None if scan is None else load_standardised(scan["path"], settings) for scan in chosen
    ]
    columns = [[None if volume is None else axial(volume) for volume in inputs]]
    for folder in compressors.values():
        model = load(folder).to(device)
        columns.append([_slice(model, volume, device) for volume in inputs])
    rows = zip(MODALITIES, zip(*columns, strict=True), strict=True)
    return panels.draw(
        [panels.Row(modality, images) for modality, images in rows],
        ["Input", *compressors],
        _sources(chosen),
        stem,
        dpi,
    )


def _slice(
    model: Compressor, volume: np.ndarray | None, device: torch.device | str
) -> np.ndarray | None:
    """Reconstruct a volume and return its slice."""
    if volume is None:
        return None
    mean, _ = model.encode(torch.from_numpy(volume)[None].to(device))
    return axial(model.decode(mean)[0].float().cpu().numpy())


def _sources(chosen: list[pd.Series | None]) -> str:
    return "Scans: " + ", ".join(scan["scan_id"] for scan in chosen if scan is not None) + "."
