"""Figure A3: of each modality the sample that is nearest to a training scan, beside that scan."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES, rows_of
from wfdm.data.volumes import load_scan
from wfdm.errors import UserError
from wfdm.figures import panels
from wfdm.figures.planes import axial

WHITE = 0.5
"""difference of intensities, which lie in [0, 1], that is drawn white"""
COLUMNS = ("sample", "nearest training scan", "|difference|")


def figure_a3(
    neighbours: Mapping[str, pd.DataFrame],
    samples: Mapping[str, pd.DataFrame],
    volumes: pd.DataFrame,
    settings: VolumeSettings,
    stem: Path | str,
    dpi: int,
) -> tuple[Path, Path]:
    """Draw the pair of the least relative distance of each modality and system.

    It is the least in the first space of the audit.

    Args:
        neighbours: columns scan_id, modality, space, nearest, relative, by the system's label.
        samples: of the same systems: columns scan_id, path, range.
        volumes: real scans with columns scan_id, path.
        settings: of the tensor that every model sees.
        stem: path of the files without suffix.
        dpi: of the PNG.

    Returns:
        The paths of the PDF and the PNG.

    Raises:
        UserError: no sample has a training scan of its modality.
    """
    real = volumes.set_index("scan_id")["path"].to_dict()
    made = {
        label: {row["scan_id"]: row for row in rows_of(table)} for label, table in samples.items()
    }
    rows, told = [], []
    for modality in MODALITIES:
        images: list[np.ndarray | None] = []
        for label, table in neighbours.items():
            pair = closest(table, modality)
            if pair is None:
                images += [None] * len(COLUMNS)
                continue
            sample = load_scan(made[label][pair["scan_id"]], settings)
            scan = load_scan({"path": real[pair["nearest"]]}, settings)
            difference = np.abs(sample - scan).clip(0, WHITE) / WHITE
            images += [axial(each) for each in (sample, scan, difference)]
            told.append(f"{modality} {pair['relative']:.2f} ({pair['nearest']})")
        if any(image is not None for image in images):
            rows.append(panels.Row(modality, images))
    if not rows:
        raise UserError("figure A3: no sample has a training scan of its modality")
    alone = len(neighbours) == 1
    titles = [
        column.capitalize() if alone else f"{label}, {column}"
        for label in neighbours
        for column in COLUMNS
    ]
    space = next(iter(neighbours.values()))["space"].iloc[0]
    note = (
        f"Least distance to a training scan as a share of that to another person's, {space}: "
        f"{'; '.join(told)}. White is a difference of {WHITE:g} or more."
    )
    return panels.draw(rows, titles, note, stem, dpi)


def closest(neighbours: pd.DataFrame, modality: str) -> pd.Series | None:
    """Return the query of a modality that has the least relative distance, in the first space."""
    first = neighbours[neighbours["space"] == neighbours["space"].iloc[0]]
    known = first[(first["modality"] == modality) & first["relative"].notna()]
    return None if known.empty else known.loc[known["relative"].idxmin()]
