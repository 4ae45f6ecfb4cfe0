"""Where a scan enters, by what was done to it before it came here (`state` of the scan table)."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from wfdm.data.grid import Grid, sri24_grid
from wfdm.errors import SessionError
from wfdm.preprocess.similarity import resample


@dataclass(frozen=True)
class Route:
    """Which steps a session still needs; `stripped` tells that only the brain is left."""

    register: bool
    extract: bool
    normalise: bool
    stripped: bool


ROUTES = {
    # as scanned
    "raw": Route(register=True, extract=True, normalise=True, stripped=False),
    # only the brain is left, in the scanner's or any other space: laid on the atlas brain
    "brain": Route(register=True, extract=False, normalise=True, stripped=True),
    # BraTS: BrainScape copies it as it is; only the common scale is missing
    "identity": Route(register=False, extract=False, normalise=True, stripped=True),
    # BrainScape's whole pipeline
    "preprocessed": Route(register=False, extract=False, normalise=False, stripped=True),
    # BrainScape without its brain extraction: what is delivered is kept
    "skull": Route(register=False, extract=False, normalise=False, stripped=False),
}


def on_atlas(image: nib.Nifti1Image, path: Path, grid: Grid, stripped: bool) -> np.ndarray:
    """Return a scan that already lies in SRI-24 space on `grid`, what surrounds a brain as 0.

    On the grid itself voxels are copied; elsewhere they are interpolated linearly.

    Raises:
        SessionError: its field does not hold the middle of the SRI-24 grid, so it is in another
            space.
    """
    atlas = sri24_grid(1.0)
    middle = atlas.affine @ [*(np.array(atlas.shape) - 1) / 2, 1]
    voxel = (np.linalg.inv(image.affine) @ middle)[:3]
    inside = np.abs(voxel - (np.array(image.shape) - 1) / 2) < np.array(image.shape) / 4
    if not inside.all():
        raise SessionError(
            f"{path}: not in SRI-24 space, its field lies elsewhere; give the source state 'raw' "
            "so that it is registered"
        )
    array = np.asarray(image.dataobj, dtype=np.float32)
    if stripped:
        array = array - background(array)
    if image.shape == grid.shape and np.allclose(image.affine, grid.affine, atol=1e-3):
        return array
    return resample(nib.Nifti1Image(array, image.affine), np.eye(4), grid)


def delivered_mask(head: np.ndarray) -> np.ndarray:
    """Return what a delivered volume shows: all but its background, holes filled."""
    return ndimage.binary_fill_holes(head != 0)


def delivered_range(volume: np.ndarray, path: Path, state: str) -> np.ndarray:
    """Return `volume` when it is in [0, 1], as `state` promises.

    Raises:
        SessionError: it is not.
    """
    low, high = float(volume.min()), float(volume.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise SessionError(
            f"{path}: intensities from {low:g} to {high:g}, but state '{state}' promises 0 to 1; "
            "give the source state 'identity' so that they are normalised"
        )
    return np.clip(volume, 0, 1)


def background(array: np.ndarray) -> float:
    """Return the commonest value of the outermost voxels: what surrounds a stripped brain."""
    faces = [array.take(index, axis) for axis in range(3) for index in (0, -1)]
    values, counts = np.unique(np.concatenate([face.ravel() for face in faces]), return_counts=True)
    return float(values[counts.argmax()])
