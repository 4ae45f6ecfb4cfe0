"""The exact mutual information: its gradient, its optimum, and what must not move it."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from wfdm.data.grid import Grid
from wfdm.preprocess.ascent import MutualInformation, ascend
from wfdm.preprocess.similarity import resample

SIZE, MM = 32, 3.0


@pytest.fixture(scope="module")
def images():
    """A smooth body in two contrasts, the second turned and shifted; region; the true matrix."""
    rng = np.random.default_rng(0)
    array = ndimage.gaussian_filter(rng.normal(size=(SIZE,) * 3), 4).astype(np.float32)
    array /= array.std()
    affine = np.diag([MM, MM, MM, 1])
    affine[:3, 3] = -MM * SIZE / 2
    fixed = nib.Nifti1Image(array, affine)
    truth = np.eye(4)
    truth[:3, :3] = Rotation.from_rotvec((3, -5, 4), degrees=True).as_matrix()
    truth[:3, 3] = (100, -50, 30)
    grid = Grid((40, 40, 40), np.diag([2.5, 2.5, 2.5, 1]))
    grid.affine[:3, 3] = truth[:3, 3] - 49
    moving = np.exp(-resample(fixed, np.linalg.inv(truth), grid))
    region = np.zeros((SIZE,) * 3, np.float32)
    region[8:24, 8:24, 8:24] = 1
    return fixed, nib.Nifti1Image(moving, grid.affine), nib.Nifti1Image(region, affine), truth


def test_the_gradient_is_that_of_the_value(images):
    information = MutualInformation(*images)
    at, step = np.array([2.0, -1.5, 1, 0.7, -0.4, 1.2]), 1e-2
    value, gradient = information(at)
    assert value < -0.5
    rises = [information(at + step * e)[0] - information(at - step * e)[0] for e in np.eye(6)]
    np.testing.assert_allclose(gradient, np.array(rises) / (2 * step), atol=2e-3)


def away(images, found: np.ndarray) -> float:
    """Return how far, in mm, the corners of the region come to lie from the truth."""
    _, _, region, truth = images
    corners = np.array(np.meshgrid(*[(8, 23)] * 3)).reshape(3, -1)
    points = region.affine @ np.r_[corners, np.ones((1, 8))]
    return float(np.linalg.norm(((found - truth) @ points)[:3], axis=0).max())


@pytest.fixture(scope="module")
def off(images):
    start = images[3].copy()
    start[:3, 3] += (2, -2.5, 1.5)
    start[:3, :3] = start[:3, :3] @ Rotation.from_rotvec((3, 2, -3), degrees=True).as_matrix()
    return start


def test_the_ascent_ends_at_the_known_move(images, off):
    assert away(images, off) > 3
    assert away(images, ascend(*images[:3], off)) < 0.2


def test_starts_that_differ_end_at_one_optimum_and_repeat_bit_for_bit(images, off):
    fixed, moving, region, truth = images
    found = ascend(fixed, moving, region, off)
    assert np.array_equal(found, ascend(fixed, moving, region, off))
    other = ascend(fixed, moving, region, truth)
    assert away((fixed, moving, region, other), found) < 0.05


def test_what_lies_outside_the_region_moves_nothing(images, off):
    """A neck of any brightness takes no bins and pulls at nothing."""
    fixed, moving, region, _ = images
    bright = np.array(moving.dataobj)
    bright[:, :, :3] = 50 * bright.max()
    found = ascend(fixed, nib.Nifti1Image(bright, moving.affine), region, off)
    assert np.array_equal(found, ascend(fixed, moving, region, off))
