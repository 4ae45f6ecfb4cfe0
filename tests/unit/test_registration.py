"""Registration of whole heads and what it is made of, against moves that are known."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tests.unit.heads import distance_mm, move, scan
from wfdm.data.grid import Grid, sri24_grid
from wfdm.errors import UserError
from wfdm.preprocess import transforms
from wfdm.preprocess.registration import rigid
from wfdm.preprocess.similarity import Similarity, isotropic, resample, smoothed
from wfdm.preprocess.starts import Head


def test_grid_is_the_atlas_grid(head):
    grid = sri24_grid(1.0)
    assert grid.shape == head.shape
    np.testing.assert_allclose(grid.affine, head.affine)


@pytest.mark.parametrize("spacing", [0.7, 2.0, 3.0])
def test_any_spacing_covers_the_same_field(spacing):
    fine, grid = sri24_grid(1.0), sri24_grid(spacing)
    for size, extent in zip(grid.shape, fine.shape, strict=True):
        assert extent - 1e-6 <= size * spacing < extent + spacing
    middles = [g.affine @ [*(np.array(g.shape) - 1) / 2, 1] for g in (fine, grid)]
    np.testing.assert_allclose(*middles)


@pytest.mark.parametrize(
    ("degrees", "mm", "inverted"),
    [((8, -6, 10), (6, -9, 5), False), ((-18, 5, -12), (-15, 20, 25), True)],
)
def test_a_known_move_is_recovered(head, region, degrees, mm, inverted):
    truth = move(degrees, mm)
    found = rigid(head, scan(head, truth, inverted=inverted), region, 2.0, 1, "a head")
    assert distance_mm(found.matrix, truth, region) < 0.5
    # Rigid: the rotation keeps lengths and handedness.
    np.testing.assert_allclose(found.matrix[:3, :3].T @ found.matrix[:3, :3], np.eye(3), atol=1e-5)
    assert np.linalg.det(found.matrix[:3, :3]) > 0


def test_slices_of_6_mm_are_registered(head, region):
    truth = move((12, -4, 9), (-12, 8, 14))
    found = rigid(head, scan(head, truth, (1.0, 1.0, 6.0), inverted=True), region, 2.0, 1, "a head")
    assert distance_mm(found.matrix, truth, region) < 1


def test_isotropic_equals_scipy_axis_by_axis(head):
    image = nib.Nifti1Image(np.asarray(head.dataobj)[60:160:2, 80:200, 40:140], head.affine)
    image.affine[:3, 0] *= 2
    found = isotropic(image, 4.0)
    sigma = np.sqrt([16 / 4 - 1, 15, 15]) / 2.355
    smooth = ndimage.gaussian_filter(np.asarray(image.dataobj), sigma, truncate=3)
    expected = resample(
        nib.Nifti1Image(smooth, image.affine), np.eye(4), Grid(found.shape, found.affine)
    )
    np.testing.assert_allclose(found.dataobj, expected, rtol=1e-3, atol=0.5)
    middles = [i.affine @ [*(np.array(i.shape) - 1) / 2, 1] for i in (image, found)]
    np.testing.assert_allclose(*middles)


def test_smoothed_leaves_what_the_coarse_grid_can_show():
    x, step = np.arange(120.0), 0.5
    ramp, stripes = 3 * x, 50 * (-1) ** x  # the ramp survives, a pattern of one voxel does not
    array = np.broadcast_to((ramp + stripes)[:, None, None], (120, 12, 12)).astype(np.float32)
    image = nib.Nifti1Image(array, np.diag([step, 3, 3, 1]))
    found = np.asarray(smoothed(image, 2.5).dataobj)
    np.testing.assert_allclose(found[20:100, 6, 6], ramp[20:100], atol=0.5)
    assert np.array_equal(np.asarray(smoothed(image, step).dataobj), array)  # nothing is finer


def test_a_header_with_wrong_axes_is_mended(head, region):
    truth = move((180, 5, 3), (4, 0, 0))
    found = rigid(head, scan(head, truth), region, 4.0, 1, "a head")
    assert distance_mm(found.matrix, truth, region) < 1


def test_what_is_no_head_is_refused(head, region):
    noise = np.random.default_rng(0).normal(size=(60, 60, 60)).astype(np.float32)
    blob = nib.Nifti1Image(ndimage.gaussian_filter(noise, 3), np.diag([4.0, 4, 4, 1]))
    with pytest.raises(
        UserError, match=r"sub-9, T1w: registration failed from every start"
    ) as error:
        rigid(head, blob, region, 4.0, 1, "sub-9, T1w")
    assert "\n" not in str(error.value)


def test_similarity_is_symmetric_under_contrast_and_best_when_aligned(head, region):
    inverse = nib.Nifti1Image(-np.asarray(head.dataobj), head.affine)
    similarity = Similarity(head, inverse, region, 6.0)
    aligned = similarity(np.eye(4))
    shifts = [np.eye(4) + np.eye(4)[:, [3]] * 0 for _ in range(3)]
    for axis, shifted in enumerate(shifts):
        shifted[axis, 3] = 6.0
        assert similarity(shifted) < aligned
    far = np.eye(4)
    far[0, 3] = 1000
    assert similarity(far) == 1.0


def test_transform_file_is_what_ants_applies(head, tmp_path):
    matrix = move((8, -6, 10), (6, -9, 5))
    native = scan(head, matrix)
    grid = sri24_grid(4.0)
    transforms.write_transform(tmp_path / "xfm.mat", matrix)
    np.testing.assert_allclose(transforms.read_transform(tmp_path / "xfm.mat"), matrix, atol=1e-4)
    fixed = nib.Nifti1Image(np.zeros(grid.shape, np.float32), grid.affine)
    theirs = transforms.ants().apply_transforms(
        transforms.to_ants(fixed, np.eye(4)),
        transforms.to_ants(native, np.eye(4)),
        [str(tmp_path / "xfm.mat")],
        interpolator="linear",
    )
    ours = resample(native, matrix, grid)
    inside = resample(nib.Nifti1Image(np.ones(native.shape), native.affine), matrix, grid) == 1
    assert inside.mean() > 0.5
    np.testing.assert_allclose(ours[inside], theirs.numpy()[inside], atol=0.05)


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 0, -1), (0, 1, 0), (-1, 0, 0)])
def test_the_head_is_found_above_its_neck(up):
    """A ball of 15 cm on a column of 10 cm: its centre, whichever axis points upwards."""
    x, y, z = np.indices((64, 64, 64)) * 4.0
    ball = (x - 120) ** 2 + (y - 130) ** 2 + (z - 170) ** 2 < 75**2
    neck = (x - 120) ** 2 + (y - 130) ** 2 < 50**2
    body = np.where(ball | (neck & (z < 170)), 1.0, 0.0)
    turn = Rotation.align_vectors([up], [(0, 0, 1)])[0].as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn * 4
    image = nib.as_closest_canonical(nib.Nifti1Image(body.astype(np.float32), affine))
    found, towards = Head(image), np.array(up, float)
    assert np.linalg.norm(found.below_crown(towards) - turn @ [120, 130, 170]) < 8
    upper = turn @ [120, 130, 195.5]  # the middle of the ball's upper 8 cm
    assert min(np.linalg.norm(each - upper) for each in found.below_any_height(towards)) < 6


def test_a_neck_of_12_cm_in_a_field_of_256_mm(head, region):
    """The middle of the field is the origin, as on a scanner: no header helps."""
    truth = move((6, -4, 5), (0, 0, 40))
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = -128
    voxels = np.linalg.inv(head.affine) @ np.linalg.inv(truth) @ affine
    at = (
        np.einsum("ij,jklm->iklm", voxels[:3, :3], np.indices((86, 86, 86)))
        + voxels[:3, 3, None, None, None]
    )
    at[2] = np.maximum(at[2], 2)  # the lowest slice goes on
    whole = ndimage.map_coordinates(np.asarray(head.dataobj), at, order=1).astype(np.float32)
    found = rigid(head, nib.Nifti1Image(whole, affine), region, 4.0, 1, "a head and neck")
    assert distance_mm(found.matrix, truth, region) < 1
