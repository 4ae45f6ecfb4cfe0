"""Reading images and making the models' tensor: MONAI and NumPy are the independent truth."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import ResizeWithPadOrCrop, ScaleIntensityRangePercentiles

from wfdm.config.volumes import VolumeSettings
from wfdm.data.grid import sri24_grid
from wfdm.data.volumes import load_standardised, model_affine, read_image, standardise
from wfdm.errors import UserError

sides = st.tuples(*[st.integers(3, 14)] * 3)


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(7, 8, 9)).astype(np.float32)


@settings(max_examples=60)
@given(sides, sides, st.integers(0, 2**31))
def test_standardise_equals_monai(source, target, seed):
    array = np.random.default_rng(seed).normal(size=source).astype(np.float32)
    mine = standardise(array, VolumeSettings(shape=target, percentiles=(1, 95)))
    resized = ResizeWithPadOrCrop(target)(array[None])
    expected = ScaleIntensityRangePercentiles(1, 95, 0, 1, clip=True)(resized)
    np.testing.assert_allclose(mine, np.asarray(expected), atol=1e-5)
    assert mine.dtype == np.float32
    assert mine.min() >= 0 and mine.max() <= 1


@pytest.mark.parametrize(
    ("shape", "spacing"), [((192, 224, 160), 1.0), ((96, 112, 80), 2.0), ((65, 91, 70), 3.0)]
)
def test_model_affine_keeps_every_voxel_in_place(shape, spacing):
    grid = sri24_grid(spacing)
    place = tuple(size // 2 + 3 for size in grid.shape)
    array = np.zeros(grid.shape, np.float32)
    array[place] = 1
    cut = standardise(array, VolumeSettings(shape=shape, percentiles=(0, 100)))[0]
    (found,) = np.argwhere(cut == 1)
    there = model_affine(shape, spacing) @ [*found, 1]
    np.testing.assert_allclose(there, grid.affine @ [*place, 1])


def test_no_signal_is_refused():
    array = np.zeros((20, 20, 20), np.float32)
    array[0, 0, 0] = 1
    with pytest.raises(UserError, match="hardly any signal"):
        standardise(array, VolumeSettings(shape=(20, 20, 20)))


def test_axes_come_out_as_ras(tmp_path, voxels):
    flipped = nib.Nifti1Image(voxels[::-1], np.diag([-1.0, 1, 1, 1]))
    nib.save(flipped, tmp_path / "las.nii.gz")
    image = read_image(tmp_path / "las.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(image.get_fdata(), voxels)
    assert image.affine[0, 3] == -6


def test_integers_are_scaled_and_a_trailing_one_is_dropped(tmp_path):
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1), np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "a.nii")
    expected = nib.load(tmp_path / "a.nii").get_fdata()[..., 0]
    read = read_image(tmp_path / "a.nii")
    assert read.shape == (2, 3, 4)
    assert np.asarray(read.dataobj).dtype == np.float32
    np.testing.assert_allclose(read.get_fdata(), expected)


def test_nifti_2_is_read(tmp_path, voxels):
    nib.save(nib.Nifti2Image(voxels, np.eye(4)), tmp_path / "two.nii.gz")
    np.testing.assert_array_equal(read_image(tmp_path / "two.nii.gz").get_fdata(), voxels)


def _save(path, voxels, affine=None):
    image = nib.Nifti1Image(voxels, None)
    image.header.set_sform(np.eye(4) if affine is None else affine, code=1)
    path.write_bytes(gzip.compress(image.to_bytes()))


def _with(voxels, value):
    voxels = voxels.copy()
    voxels[1, 2, 3] = value
    return voxels


SHEAR = np.eye(4) + 0.2 * np.eye(4, k=1) * [[1], [0], [0], [0]]
BAD = {
    "no such file": lambda path, v: None,
    "cut short": lambda path, v: (_save(path, v), path.write_bytes(path.read_bytes()[:-300])),
    "damaged": lambda path, v: (
        _save(path, v),
        path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8),
    ),
    "voxels cannot be read": lambda path, v: path.write_bytes(
        nib.Nifti1Image(v, np.eye(4)).to_bytes()[:-100]
    ),
    "not a NIfTI image": lambda path, v: path.write_bytes(gzip.compress(b"text" * 200)),
    r"4D \(7 x 8 x 9 x 2\)": lambda path, v: _save(path, np.stack([v, v], -1)),
    "2D": lambda path, v: _save(path, v[0]),
    "1 voxels are NaN": lambda path, v: _save(path, _with(v, np.nan)),
    "1 voxels are NaN or infinite": lambda path, v: _save(path, _with(v, np.inf)),
    "every voxel is 0": lambda path, v: _save(path, v * 0),
    "affine is singular": lambda path, v: _save(path, v, np.diag([1.0, 1, 0, 1])),
    "affine is singular;": lambda path, v: _save(path, v, np.eye(4)[[0, 0, 2, 3]]),
    "affine is sheared": lambda path, v: _save(path, v, SHEAR),
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize("read", [read_image, lambda p: load_standardised(p, VolumeSettings())])
def test_bad_input_is_one_line_with_the_path(tmp_path, voxels, message, read):
    path = tmp_path / "scan.nii.gz"
    BAD[message](path, voxels)
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
