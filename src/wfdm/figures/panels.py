"""A grid of axial slices, written as PDF and PNG whose bytes depend on the pixels alone."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wfdm.atomic import atomic_path
from wfdm.seeds import seed_for

CELL = 1.5
"""inches, width of one panel"""
CONVENTION = (
    "Axial slices through the middle of the volume. Left in the image is left in the brain."
)
STYLE: Any = {"font.family": "DejaVu Sans", "font.size": 8, "pdf.fonttype": 42}


def axial(volume: np.ndarray) -> np.ndarray:
    """Return the middle axial slice of a RAS volume (1, R, A, S) as rows of an image.

    Neurological convention: columns run from left to right of the brain, rows from anterior
    (top) to posterior.
    """
    return volume[0, :, ::-1, volume.shape[3] // 2].T


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
    cells: Sequence[Sequence[np.ndarray | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    note: str,
    stem: Path | str,
    dpi: int,
) -> tuple[Path, Path]:
    """Draw images in [0, 1] as a labelled grid; None leaves a cell empty.

    Args:
        cells: images (height, width) of one size, a sequence per row.
        rows: label of each row.
        columns: title of each column; long ones are wrapped.
        note: printed under the grid, after the display convention.
        stem: path of the files without suffix.
        dpi: of the PNG.

    Returns:
        The paths of the PDF and the PNG.
    """
    shape = next((cell.shape for row in cells for cell in row if cell is not None), (1, 1))
    width, tall = CELL * len(columns) + 0.9, CELL * shape[0] / shape[1]
    titles = [textwrap.fill(title, 16, break_on_hyphens=False) for title in columns]
    footer = textwrap.fill(f"{CONVENTION} {note}".strip(), int(width * 17))
    head = 0.16 * (1 + max(title.count("\n") for title in titles)) + 0.1
    foot = 0.15 * (1 + footer.count("\n")) + 0.2
    height = tall * len(rows) + head + foot
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))  # no pyplot: no window system, no global state
        axes = figure.subplots(len(rows), len(columns), squeeze=False)
        figure.subplots_adjust(
            left=0.85 / width,
            right=1 - 0.05 / width,
            top=1 - head / height,
            bottom=foot / height,
            wspace=0.03,
            hspace=0.03,
        )
        for index, row in enumerate(cells):
            for axis, image in zip(axes[index], row, strict=True):
                _panel(axis, image)
            axes[index, 0].set_ylabel(rows[index], rotation=0, ha="right", va="center")
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontsize=8, pad=4)
        figure.text(0.1 / width, 0.08 / height, footer, fontsize=7, va="bottom")
        return save(figure, Path(stem), dpi)


def _panel(axis: Axes, image: np.ndarray | None) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    if image is None:
        axis.text(0.5, 0.5, "—", transform=axis.transAxes, ha="center", va="center", color="0.5")
        return
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for x, side in ((0.03, "L"), (0.97, "R")):
        axis.text(
            x,
            0.03,
            side,
            transform=axis.transAxes,
            ha="left" if side == "L" else "right",
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
