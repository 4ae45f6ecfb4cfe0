"""Heads as a scanner sees them after a move that is known."""

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from wfdm.data.grid import Grid, sri24_grid
from wfdm.preprocess.similarity import resample


def move(degrees: tuple, mm: tuple) -> np.ndarray:
    """Return the matrix from SRI-24 points to native ones, about the middle of the grid."""
    middle = sri24_grid(1.0).affine @ [119.5, 119.5, 77, 1]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = np.array(mm) - matrix[:3, :3] @ middle[:3]
    return matrix


def scan(head: nib.Nifti1Image, matrix: np.ndarray, voxel=(1.5, 1.5, 2.0), inverted=False):
    """Return `head` as a scanner would see it after `matrix`: coarser, shaded, noisy."""
    shape = tuple(
        int(np.ceil(extent / size)) for extent, size in zip((200, 240, 200), voxel, strict=True)
    )
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = -np.array([100, 120, 100])
    array = resample(head, np.linalg.inv(matrix), Grid(shape, affine))
    if inverted:
        array = np.where(array > 30, 900 - array, array)
    noise = np.random.default_rng(3).normal(0, 15, shape)
    shading = 1 + 0.2 * np.sin(np.linspace(0, 3, shape[0]))[:, None, None]
    return nib.Nifti1Image(np.abs(array * shading + noise).astype(np.float32), affine)


def distance_mm(a: np.ndarray, b: np.ndarray, region: nib.Nifti1Image) -> float:
    """Return the mean distance between two matrices' images of the region's points."""
    voxels = np.argwhere(np.asarray(region.dataobj) > 0)[::500]
    points = region.affine @ np.c_[voxels, np.ones(len(voxels))].T
    return float(np.linalg.norm(((a - b) @ points)[:3], axis=0).mean())
