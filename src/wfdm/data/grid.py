"""The grid that every preprocessed volume lies on: SRI-24 as in BraTS, at any spacing."""

from dataclasses import dataclass

import numpy as np

# World coordinates (RAS, mm) of the BraTS grid: 240 x 240 x 155 voxels of 1 mm whose first voxel
# is at (-239, 0, 0). Read from the header of the SRI-24 volume that BraTS and BrainScape use.
EXTENT_MM = (240, 240, 155)
FIRST_MM = (-239.0, 0.0, 0.0)


@dataclass(frozen=True)
class Grid:
    """A regular grid in RAS: its shape in voxels and its 4 x 4 voxel-to-world matrix in mm."""

    shape: tuple[int, ...]
    affine: np.ndarray


def centred_affine(shape: tuple[int, ...], spacing: float) -> np.ndarray:
    """Return the RAS affine of a grid of `shape` whose middle is the SRI-24 grid's middle."""
    middle = np.array(FIRST_MM) + (np.array(EXTENT_MM) - 1) / 2
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = middle - spacing * (np.array(shape) - 1) / 2
    return affine


def sri24_grid(spacing: float = 1.0) -> Grid:
    """Return the SRI-24 grid at `spacing` mm: the same field of view around the same middle.

    Where `spacing` does not divide the extent the field grows by less than one voxel.
    """
    shape = tuple(int(np.ceil(extent / spacing - 1e-6)) for extent in EXTENT_MM)
    return Grid(shape, centred_affine(shape, spacing))
