"""Figure 3: a real scan and each generator's sample for the same request."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import load_standardised
from wfdm.figures import panels


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
    cells = []
    for modality in MODALITIES:
        scan = panels.choose(volumes, modality, seed)
        chosen = [
            scan,
            *(_sample_for(scan, found, modality, seed) for found in generators.values()),
        ]
        cells.append([_slice(each, settings) for each in chosen])
    note = "Real: test scans. All other columns are synthetic, made for that scan's metadata."
    return panels.draw(cells, list(MODALITIES), ["Real", *generators], note, stem, dpi)


def _sample_for(
    scan: pd.Series | None, samples: pd.DataFrame, modality: str, seed: int
) -> pd.Series | None:
    if scan is None:
        return None
    asked = samples[samples["scan_id"] == scan["scan_id"]]
    return panels.choose(samples, modality, seed) if asked.empty else asked.iloc[0]


def _slice(scan: pd.Series | None, settings: VolumeSettings) -> np.ndarray | None:
    return None if scan is None else panels.axial(load_standardised(scan["path"], settings))
