"""Files as laboratories have them: each is read to the same head in the same place."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from wfdm.data.grid import Grid
from wfdm.data.volumes import read_image
from wfdm.errors import UserError
from wfdm.preprocess.similarity import resample

SHAPE = (44, 52, 40)
SPACING = 4.0


def world_grid() -> Grid:
    affine = np.diag([SPACING] * 3 + [1.0])
    affine[:3, 3] = -SPACING * (np.array(SHAPE) - 1) / 2
    return Grid(SHAPE, affine)


@pytest.fixture(scope="module")
def head() -> nib.Nifti1Image:
    """A smooth body without symmetry, 0 to 1000."""
    noise = np.random.default_rng(2).normal(size=SHAPE)
    body = ndimage.gaussian_filter(noise, 4)
    x, y, z = np.indices(SHAPE, sparse=True)
    round_ = np.exp(-(((x - 20) / 12) ** 2 + ((y - 27) / 14) ** 2 + ((z - 19) / 11) ** 2))
    array = round_ * (1 + body / np.abs(body).max())
    return nib.Nifti1Image((1000 * array / array.max()).astype(np.float32), world_grid().affine)


def sampled(head, affine, shape) -> np.ndarray:
    return resample(head, np.eye(4), Grid(shape, affine))


def thick_slices(head, path):
    affine = np.diag([2.0, 2.0, 6.0, 1.0])
    affine[:3, 3] = [-86, -102, -78]
    nib.save(nib.Nifti1Image(sampled(head, affine, (87, 103, 27)), affine), path)


def oblique(head, path):
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [17, -9, 24], degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag([3.0, 3.0, 4.0])
    affine[:3, 3] = -affine[:3, :3] @ [33, 37, 25]
    nib.save(nib.Nifti1Image(sampled(head, affine, (67, 75, 51)), affine), path)


def left_handed(head, path):
    array = np.asarray(head.dataobj)[::-1].transpose(2, 0, 1)
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 2] = SPACING
    affine[0, 1] = -SPACING
    affine[:3, 3] = head.affine[:3, 3] * [-1, 1, 1]
    affine[3, 3] = 1
    assert np.linalg.det(affine) < 0
    nib.save(nib.Nifti1Image(array, affine), path)


def negative_integers(head, path):
    image = nib.Nifti1Image(np.rint(np.asarray(head.dataobj) - 400).astype(np.int16), head.affine)
    image.header.set_slope_inter(1, 400)
    nib.save(image, path)


def scaled_integers(head, path):
    image = nib.Nifti1Image(np.rint(np.asarray(head.dataobj) * 20).astype(np.uint16), head.affine)
    image.header.set_slope_inter(0.05, 0)
    nib.save(image, path)


def doubles(head, path):
    nib.save(nib.Nifti1Image(np.asarray(head.dataobj, dtype=np.float64), head.affine), path)


def no_sform(head, path):
    image = nib.Nifti1Image(np.asarray(head.dataobj), head.affine)
    image.set_qform(head.affine, code=1)
    image.set_sform(None, code=0)
    nib.save(image, path)
    assert nib.load(path).header["sform_code"] == 0


def no_qform(head, path):
    image = nib.Nifti1Image(np.asarray(head.dataobj), head.affine)
    image.set_sform(head.affine, code=2)
    image.set_qform(None, code=0)
    nib.save(image, path)


def trailing_one(head, path):
    nib.save(nib.Nifti1Image(np.asarray(head.dataobj)[..., None], head.affine), path)


def trailing_ones(head, path):
    nib.save(nib.Nifti1Image(np.asarray(head.dataobj)[..., None, None], head.affine), path)


def gzip_padding(head, path):
    nib.save(head, path)
    path.write_bytes(path.read_bytes() + b"\0" * 512)


def gzip_members(head, path):
    whole = head.to_bytes()
    path.write_bytes(gzip.compress(whole[:50_000]) + gzip.compress(whole[50_000:]))


def big_endian(head, path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.float32)
    nib.save(nib.Nifti1Image(np.asarray(head.dataobj).astype(">f4"), head.affine, header), path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "save",
    [
        *(thick_slices, oblique, left_handed, negative_integers, scaled_integers, doubles),
        *(no_sform, no_qform, trailing_one, trailing_ones, big_endian),
    ],
    ids=lambda save: save.__name__,
)
def test_is_read_to_its_place(head, tmp_path, save, ending):
    path = tmp_path / f"sub-1_T1w{ending}"
    save(head, path)
    check(head, path)


@pytest.mark.parametrize("save", [gzip_padding, gzip_members], ids=lambda save: save.__name__)
def test_odd_gzip_streams_are_read(head, tmp_path, save):
    path = tmp_path / "sub-1_T1w.nii.gz"
    save(head, path)
    check(head, path)


def check(head: nib.Nifti1Image, path: Path) -> None:
    found = read_image(path)
    assert nib.aff2axcodes(found.affine) == ("R", "A", "S")
    assert np.asarray(found.dataobj).dtype == np.float32
    back = resample(found, np.eye(4), world_grid())
    wanted = np.asarray(head.dataobj)
    middle = tuple(slice(8, -8) for _ in range(3))  # rotated fields do not reach the corners
    assert np.abs(back - wanted)[middle].max() < 40  # of 1000: interpolation of thick slices
    assert np.corrcoef(back[middle].ravel(), wanted[middle].ravel())[0, 1] > 0.999


def test_a_huge_matrix_is_read(tmp_path):
    """512 x 512 x 400 voxels, 210 MB, of which the file system stores a corner."""
    header = nib.Nifti1Image(np.zeros((1, 1, 1), np.int16), np.eye(4)).header
    header.set_data_dtype(np.int16)
    header.set_data_shape((512, 512, 400))
    header.set_sform(np.diag([0.4, 0.4, 0.4, 1]), code=1)
    header["vox_offset"] = 352
    path = tmp_path / "huge.nii"
    with open(path, "wb") as stream:
        header.write_to(stream)
        stream.truncate(352 + 512 * 512 * 400 * 2)
        stream.seek(352)
        stream.write(np.full(1000, 7, np.int16).tobytes())
    image = read_image(path)
    assert image.shape == (512, 512, 400)
    assert image.dataobj[:500, 0, 0].max() == 7


def test_a_header_that_promises_more_than_the_file_holds(tmp_path):
    header = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)).header
    header.set_data_shape((30000, 30000, 30000))
    path = tmp_path / "lies.nii"
    with open(path, "wb") as stream:
        header.write_to(stream)
        stream.write(b"\0" * 1000)
    with pytest.raises(UserError, match=r"lies\.nii: the voxels cannot be read"):
        read_image(path)


def test_a_file_without_orientation_is_read_with_a_warning(head, tmp_path, caplog):
    image = nib.Nifti1Image(np.asarray(head.dataobj), head.affine)
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    nib.save(image, tmp_path / "lost.nii")
    assert read_image(tmp_path / "lost.nii").shape == SHAPE
    (told,) = caplog.messages
    assert "lost.nii" in told and "left and right" in told and len(told.splitlines()) == 1
