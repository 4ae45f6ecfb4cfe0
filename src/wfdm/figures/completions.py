"""Figure A1: a real test scan per modality, what completes it, and where the two differ."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import load_scan, load_standardised
from wfdm.errors import UserError
from wfdm.figures import panels
from wfdm.figures.planes import axial

WHITE = 0.5
"""difference of intensities, which lie in [0, 1], that is drawn white"""
COLUMNS = ("from one", "|difference|", "from all", "|difference|")


def figure_a1(
    completions: Mapping[str, pd.DataFrame],
    volumes: pd.DataFrame,
    settings: VolumeSettings,
    seed: int,
    stem: Path | str,
    dpi: int,
) -> tuple[Path, Path]:
    """Draw a test scan of each modality beside it completed from one scan and from all others.

    Of a modality the scan is shown whose session has the most others, the first by seed. Its one
    source is the first of its others.

    Args:
        completions: completed test scans (columns scan_id, modality, sources, path, range) of each
            completion by its label.
        volumes: real scans with columns scan_id, path.
        settings: of the tensor that every model sees.
        seed: the study's; it chooses the scans.
        stem: path of the files without suffix.
        dpi: of the PNG.

    Returns:
        The paths of the PDF and the PNG.

    Raises:
        UserError: no scan was completed.
    """
    paths = volumes.set_index("scan_id")["path"].to_dict()
    rows, told = [], []
    for modality in MODALITIES:
        scan_id = _chosen(completions, modality, seed)
        if scan_id is None:
            continue
        real = load_standardised(paths[scan_id], settings)
        images: list[np.ndarray | None] = [axial(real)]
        for made in completions.values():
            own = made[made["scan_id"] == scan_id]
            for scan in _one_and_all(own):
                volume = load_scan({**scan}, settings)
                images += [axial(volume), axial(np.abs(volume - real).clip(0, WHITE) / WHITE)]
            if own.empty:
                images += [None] * len(COLUMNS)
            else:
                one, every = (_words(scan) for scan in _one_and_all(own))
                told.append(f"{scan_id} from {one}, and from {every}")
        rows.append(panels.Row(modality, images))
    if not rows:
        raise UserError("figure A1: no test session has two modalities, so no scan was completed")
    alone = len(completions) == 1
    titles = [
        column.capitalize() if alone else f"{label}, {column}"
        for label in completions
        for column in COLUMNS
    ]
    note = f"{'; '.join(dict.fromkeys(told))}. White is a difference of {WHITE:g} or more."
    return panels.draw(rows, ["Real", *titles], note, stem, dpi)


def _chosen(completions: Mapping[str, pd.DataFrame], modality: str, seed: int) -> str | None:
    """Return the scan that is shown of a modality; None where none was completed."""
    made = pd.concat(completions.values())
    most = made["sources"].str.count(r"\+")
    of = made["modality"] == modality
    scan = panels.choose(made[of & (most == most[of].max())], modality, seed)
    return None if scan is None else str(scan["scan_id"])


def _one_and_all(made: pd.DataFrame) -> list[pd.Series]:
    """Return what a scan's first source alone gave, and what all its sources gave."""
    if made.empty:
        return []
    count = made["sources"].str.count(r"\+")
    first = made["sources"].str.partition("+")[0].map(MODALITIES.index)
    ordered = made.assign(count=count, first=first).sort_values(["count", "first"])
    return [ordered.iloc[0], ordered.iloc[-1]]


def _words(scan: pd.Series) -> str:
    return str(scan["sources"]).replace("+", " + ")
