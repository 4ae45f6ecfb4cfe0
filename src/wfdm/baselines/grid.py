"""How a volume of a published system comes to the study's grid: the one path for all of them.

1. Its affine says where its voxels are: from its authors' own frame where they have one (BraTS
   data lie on the SRI-24 grid), else its axes' directions and sizes, with the middle of its
   brightness in the middle of the grid (`centred`).
2. It is interpolated, trilinear, onto the study's grid in RAS; where that is coarser it is blurred
   first. Outside its field it is 0.
3. Its intensities stay as its authors' code leaves them; whoever reads it maps percentiles to
   [0, 1], as of any scan: no system was told this study's scale.
"""

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff

from wfdm.data.grid import EXTENT_MM, Grid, centred_affine
from wfdm.data.volumes import model_affine
from wfdm.preprocess.similarity import resample, smoothed

Affine = np.ndarray
# BraTS stores voxels from right to left, and from front to back, 1 mm each: LPS.
BRATS = np.array([[-1.0, 0, 0, 0], [0, -1, 0, EXTENT_MM[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1]])


def on_study_grid(
    volume: np.ndarray, affine: Affine, shape: tuple[int, int, int], spacing: float
) -> np.ndarray:
    """Return a volume on the study's grid, (R, A, S) float32.

    Args:
        volume: 3D, axes in any order.
        affine: (4, 4), its voxels to RAS in mm, axes along the grid's.
        shape: of the study's volumes.
        spacing: of the study's grid, in mm.
    """
    image = nib.Nifti1Image(volume.astype(np.float32), affine)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if (spacing > 1.01 * lengths).any():
        image = smoothed(image, spacing)
    return resample(image, np.eye(4), Grid(shape, model_affine(shape, spacing)))


def of_voxels(affine: Affine, first: tuple[float, ...], step: float = 1) -> Affine:
    """Return the affine of a volume that begins at voxel `first` and takes each `step`-th.

    Its voxels may lie between those of `affine`.
    """
    change = np.diag([step, step, step, 1.0])
    change[:3, 3] = first
    return affine @ change


def centred(volume: np.ndarray, orientation: str, field_mm: tuple[float, ...]) -> Affine:
    """Return the affine of a volume without a frame: its brightness in the middle of the grid.

    Args:
        volume: 3D.
        orientation: where each axis leads, such as "RIA".
        field_mm: what it shows along each axis.
    """
    sizes = np.divide(field_mm, volume.shape)
    turned = inv_ornt_aff(axcodes2ornt(tuple(orientation)), volume.shape)
    affine = np.linalg.inv(turned)
    affine[:3, :3] = np.linalg.inv(turned)[:3, :3] @ np.diag(sizes)
    weight = volume.astype(np.float64) - volume.min()
    places = [
        (weight.sum(tuple({0, 1, 2} - {axis})) * np.arange(size)).sum() / max(weight.sum(), 1e-12)
        for axis, size in enumerate(volume.shape)
    ]
    affine[:3, 3] = centred_affine((1, 1, 1), 1.0)[:3, 3] - affine[:3, :3] @ places
    return affine
