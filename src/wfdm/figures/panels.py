"""A grid of slices, written as PDF and PNG whose bytes depend on the pixels alone."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wfdm.atomic import atomic_path
from wfdm.figures.planes import AXIAL, SAGITTAL, Plane
from wfdm.seeds import seed_for

CELL = 1.5
"""inches, width of one panel"""
STYLE: Any = {"font.family": "DejaVu Sans", "font.size": 8, "pdf.fonttype": 42}


@dataclass(frozen=True)
class Row:
    """A row of the grid.

    Attributes:
        label: stands to the left of it.
        images: in [0, 1], all of one size (height, width); None leaves a cell empty.
        plane: that the images show.
    """

    label: str
    images: Sequence[np.ndarray | None]
    plane: Plane = AXIAL


def choose(scans: pd.DataFrame, modality: str, seed: int) -> pd.Series | None:
    """Return one scan of `modality`, the first by seed; None where there is none.

    Each scan has its own draw, so that adding or removing another scan rarely changes it.
    """
    candidates = scans[scans["modality"] == modality]
    if candidates.empty:
        return None
    draws = [seed_for(seed, "figure", scan_id) for scan_id in candidates["scan_id"]]
    return candidates.iloc[int(np.argmin(draws))]


def draw(
    rows: Sequence[Row], columns: Sequence[str], note: str, stem: Path | str, dpi: int
) -> tuple[Path, Path]:
    """Draw rows of images as a labelled grid, in which a voxel has one size everywhere.

    Args:
        rows: an image for each column.
        columns: title of each column; long ones are wrapped.
        note: printed under the grid, after the display convention.
        stem: path of the files without suffix.
        dpi: of the PNG.

    Returns:
        The paths of the PDF and the PNG.
    """
    shapes = _shapes(rows)
    voxels = max(across for _, across in shapes)
    width, tall = CELL * len(columns) + 0.9, [CELL * down / voxels for down, _ in shapes]
    titles = [textwrap.fill(title, 16, break_on_hyphens=False) for title in columns]
    footer = textwrap.fill(f"{convention([row.plane for row in rows])} {note}", int(width * 17))
    head = 0.16 * (1 + max(title.count("\n") for title in titles)) + 0.1
    foot = 0.15 * (1 + footer.count("\n")) + 0.2
    height = sum(tall) + head + foot
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))  # no pyplot: no window system, no global state
        axes = figure.subplots(len(rows), len(columns), squeeze=False, height_ratios=tall)
        figure.subplots_adjust(
            left=0.85 / width,
            right=1 - 0.05 / width,
            top=1 - head / height,
            bottom=foot / height,
            wspace=0.03,
            hspace=0.03,
        )
        for row, line in zip(rows, axes, strict=True):
            for axis, image in zip(line, row.images, strict=True):
                _panel(axis, None if image is None else _padded(image, voxels), row.plane.sides)
            line[0].set_ylabel(row.label, rotation=0, ha="right", va="center")
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontsize=8, pad=4)
        figure.text(0.1 / width, 0.08 / height, footer, fontsize=7, va="bottom")
        return save(figure, Path(stem), dpi)


def convention(planes: Sequence[Plane]) -> str:
    """Say in words which slices are shown, and which side is which."""
    names = [plane.name for plane in dict.fromkeys(planes)]
    which = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])).lower().capitalize()
    sagittal = "; in sagittal slices it is anterior" if SAGITTAL in planes else ""
    return (
        f"{which} slices through the middle of the volume. Left in the image is left in the brain"
        f"{sagittal}."
    )


def _shapes(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Return the size of each row's images; an empty row has the size of the first other one."""
    found = [next((i.shape for i in row.images if i is not None), None) for row in rows]
    other = next(filter(None, found), (1, 1))
    return [(shape or other)[:2] for shape in found]


def _padded(image: np.ndarray, voxels: int) -> np.ndarray:
    """Return an image with black on both sides, so many voxels wide."""
    left = (voxels - image.shape[1]) // 2
    return np.pad(image, ((0, 0), (left, voxels - image.shape[1] - left)))


def _panel(axis: Axes, image: np.ndarray | None, sides: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    if image is None:
        axis.text(0.5, 0.5, "—", transform=axis.transAxes, ha="center", va="center", color="0.5")
        return
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for x, side, align in ((0.03, sides[0], "left"), (0.97, sides[1], "right")):
        axis.text(
            x,
            0.03,
            side,
            transform=axis.transAxes,
            ha=align,
            va="bottom",
            color="white",
            fontsize=6,
        )


def save(figure: Figure, stem: Path, dpi: int) -> tuple[Path, Path]:
    """Write both files without dates or versions in their metadata."""
    pdf, png = stem.with_suffix(".pdf"), stem.with_suffix(".png")
    with atomic_path(pdf) as temporary:
        nothing = {"Creator": None, "Producer": None, "CreationDate": None}
        figure.savefig(temporary, format="pdf", metadata=nothing, dpi=dpi)
    with atomic_path(png) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, dpi=dpi)
    return pdf, png
