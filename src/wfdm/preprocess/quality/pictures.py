"""The quality picture of one session: what came in, what came out, in three planes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from wfdm.atomic import atomic_path

_TILE = 200  # pixels per side of one picture
_FIELD_MM = 250.0  # what a side shows
_MASK_COLOUR = (255, 70, 60)
_ATLAS_COLOUR = (70, 200, 255)
_TITLES = ("as scanned", "on the SRI-24 grid: mask (red), atlas brain (blue)", "preprocessed")


@dataclass(frozen=True)
class Row:
    """One contrast: its native image, and its head and its brain on the standard grid."""

    label: str
    native: nib.Nifti1Image
    head: np.ndarray
    brain: np.ndarray


def write_picture(
    path: Path, rows: list[Row], mask: np.ndarray, atlas_brain: np.ndarray, spacing: float
) -> None:
    """Write a PNG with one row per contrast; the same input gives the same bytes.

    Nine planes per row, sagittal, coronal, axial each: the native scan through its middle, the
    head on the grid with the outlines of the brain mask and of the atlas brain, the final brain.
    Right is right, up is superior or anterior.

    Args:
        path: the PNG to write.
        rows: the contrasts, reference first.
        mask: boolean brain mask on the standard grid.
        atlas_brain: boolean brain of the atlas on the same grid.
        spacing: spacing of that grid in mm.
    """
    centre = [int(x) for x in np.round(ndimage.center_of_mass(mask))]
    steps = (spacing,) * 3
    outlines = [
        (_outlines(mask, steps, centre), _MASK_COLOUR),
        (_outlines(atlas_brain, steps, centre), _ATLAS_COLOUR),
    ]
    lines = []
    for row in rows:
        native_steps = tuple(np.linalg.norm(row.native.affine[:3, :3], axis=0))
        middle = [size // 2 for size in row.native.shape]
        tiles = _colour(_planes(np.asarray(row.native.dataobj), native_steps, middle))
        head = _colour(_planes(row.head, steps, centre))
        for edges, colour in reversed(outlines):
            for tile, edge in zip(head, edges, strict=True):
                tile[edge] = colour
        lines.append(np.hstack([*tiles, *head, *_colour(_planes(row.brain, steps, centre))]))
    _save(path, np.vstack(lines), [row.label for row in rows])


def _planes(
    array: np.ndarray, steps: tuple[float, ...], centre: list[int], order: int = 1
) -> list[np.ndarray]:
    """Return the three planes through `centre` (voxels) as square tiles at one scale."""
    return [_tile(plane, step, order) for plane, step in _cuts(array, steps, centre)]


def _cuts(
    array: np.ndarray, steps: tuple[float, ...], centre: list[int]
) -> Iterator[tuple[np.ndarray, tuple[float, float]]]:
    for axis in range(3):
        across, up = (i for i in range(3) if i != axis)
        yield np.take(array, centre[axis], axis=axis), (steps[across], steps[up])


def _tile(plane: np.ndarray, steps: tuple[float, float], order: int) -> np.ndarray:
    """Sample a plane (across, up) around its middle, `_FIELD_MM` wide, as image rows."""
    scale = _FIELD_MM / _TILE / np.array(steps)
    first = (np.array(plane.shape) - 1) / 2 - scale * (_TILE - 1) / 2
    tile = ndimage.affine_transform(
        plane.astype(np.float32), np.diag(scale), first, output_shape=(_TILE, _TILE), order=order
    )
    return tile.T[::-1]


def _outlines(mask: np.ndarray, steps: tuple[float, ...], centre: list[int]) -> list[np.ndarray]:
    edges = []
    for tile in _planes(mask.astype(np.float32), steps, centre):
        inside = tile > 0.5
        edges.append(inside & ~ndimage.binary_erosion(inside))
    return edges


def _colour(tiles: list[np.ndarray]) -> list[np.ndarray]:
    """Map grey values up to the 99.5th percentile of the lit pixels to RGB bytes."""
    lit = np.concatenate([tile[tile > 0] for tile in tiles])
    top = np.percentile(lit, 99.5) if lit.size else 1.0
    return [
        np.repeat((np.clip(tile / top, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
        for tile in tiles
    ]


def _save(path: Path, mosaic: np.ndarray, labels: list[str]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = mosaic.shape[:2]
    header = 22
    figure = Figure(figsize=(width / 100, (height + header) / 100), dpi=100, facecolor="black")
    FigureCanvasAgg(figure)
    figure.figimage(mosaic, 0, 0, origin="upper")
    for index, title in enumerate(_TITLES):
        left = (3 * index * _TILE + 6) / width
        figure.text(left, 1 - 16 / (height + header), title, color="white", fontsize=9)
    for index, label in enumerate(labels):
        top = height - index * _TILE - 14
        figure.text(6 / width, top / (height + header), label, color="yellow", fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})
