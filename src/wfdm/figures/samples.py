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
    row's scan; a generator without such a sample has an empty cell.

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
        key = None if scan is None else scan["scan_id"]
        sources = (volumes, *generators.values())
        cells.append([_slice(source, key, settings) for source in sources])
    note = "Real: test scans. All other columns are synthetic, made for that scan's metadata."
    return panels.draw(cells, list(MODALITIES), ["Real", *generators], note, stem, dpi)


def _slice(scans: pd.DataFrame, scan_id: str | None, settings: VolumeSettings) -> np.ndarray | None:
    found = scans[scans["scan_id"] == scan_id]
    if found.empty:
        return None
    return panels.axial(load_standardised(found.iloc[0]["path"], settings))
