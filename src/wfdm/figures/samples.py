"""Figures 3 to 7: a real scan and each generator's sample for the same request."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES, check_modality
from wfdm.data.volumes import load_scan
from wfdm.figures import panels
from wfdm.figures.planes import PLANES, axial

OTHERS = "Each other column shows what its generator gave for that scan's modality and metadata."


def figure3(
    generators: Mapping[str, pd.DataFrame],
    volumes: pd.DataFrame,
    settings: VolumeSettings,
    seed: int,
    stem: Path | str,
    dpi: int,
) -> tuple[Path, Path]:
    """Draw one real test scan per modality and what each generator made for it.

    A sample is shown in a row when it was generated with the modality and metadata of that
    row's scan. A generator that was not asked for it shows another sample of the modality, the
    first by seed; one without that modality has an empty cell.

    Args:
        generators: samples (columns scan_id, modality, path) of each generator by its label.
        volumes: real test scans, same columns.
        settings: of the tensor that every model sees.
        seed: the study's; it chooses the scans.
        stem: path of the files without suffix.
        dpi: of the PNG.

    Returns:
        The paths of the PDF and the PNG.
    """
    rows = []
    for modality in MODALITIES:
        scan = panels.choose(volumes, modality, seed)
        samples = [_sample_for(scan, made, modality, seed) for made in generators.values()]
        shown = [_volume(each, settings) for each in (scan, *samples)]
        images = [None if volume is None else axial(volume) for volume in shown]
        rows.append(panels.Row(modality, images))
    note = f"Real: test scans. {OTHERS}"
    return panels.draw(rows, ["Real", *generators], note, stem, dpi)


def figures4to7(
    modality: str,
    generators: Mapping[str, pd.DataFrame],
    volumes: pd.DataFrame,
    settings: VolumeSettings,
    seed: int,
    stem: Path | str,
    dpi: int,
) -> tuple[Path, Path]:
    """Draw the scan and the samples of figure 3's row of a modality, in three planes.

    A generator that made none of this modality has no column.

    Args:
        modality: of all volumes.
        generators: as of `figure3`, like all that follows.
        volumes: same.
        settings: same.
        seed: same.
        stem: same.
        dpi: same.

    Returns:
        The paths of the PDF and the PNG.

    Raises:
        UserError: an unknown modality.
    """
    check_modality(modality)
    scan = panels.choose(volumes, modality, seed)
    found = {"Real": scan}
    found |= {name: _sample_for(scan, made, modality, seed) for name, made in generators.items()}
    shown = {name: each for name, each in found.items() if name == "Real" or each is not None}
    columns = [_volume(each, settings) for each in shown.values()]
    rows = [
        panels.Row(
            plane.name,
            [None if volume is None else plane.image(volume) for volume in columns],
            plane,
        )
        for plane in PLANES
    ]
    real = (
        f"there is no test scan of {modality}" if scan is None else f"test scan {scan['scan_id']}"
    )
    return panels.draw(rows, list(shown), f"Real: {real}. {OTHERS}", stem, dpi)


def _sample_for(
    scan: pd.Series | None, samples: pd.DataFrame, modality: str, seed: int
) -> pd.Series | None:
    if scan is None:
        return None
    made = samples[samples["modality"] == modality]
    asked = made[made["scan_id"] == scan["scan_id"]]
    return panels.choose(made, modality, seed) if asked.empty else asked.iloc[0]


def _volume(scan: pd.Series | None, settings: VolumeSettings) -> np.ndarray | None:
    """Return the tensor (1, R, A, S) of a scan or sample."""
    return None if scan is None else load_scan({**scan}, settings)
