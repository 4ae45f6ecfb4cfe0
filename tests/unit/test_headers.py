"""Headers that contradict themselves, against nibabel's reading of the same head told plainly."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from wfdm.data.volumes import read_image
from wfdm.errors import UserError

SHAPE = (9, 8, 7)
VOXELS = np.random.default_rng(0).random(SHAPE, np.float32) * 100
TURNED = np.eye(4)
TURNED[:3, :3] = Rotation.from_euler("z", 7, degrees=True).as_matrix() @ np.diag([2.0, 2, 2])
TURNED[:3, 3] = [4, -6, 9]
METRES = np.diag([1e-3, 1e-3, 1e-3, 1]) @ TURNED
MIRRORED = np.diag([-1.0, 1, 1, 1]) @ TURNED
SCALED = TURNED @ np.diag([0.915, 0.915, 0.915, 1])  # 1.83 mm
HALF_TURN = np.diag([-2.0, -2, 2, 1])


def save(path, array=VOXELS, sform=TURNED, qform=TURNED, codes=(1, 1), **fields):
    """Write an image whose header is then spoilt, where nibabel itself would not write it so."""
    image = nib.Nifti1Image(array, None)
    image.header.set_sform(sform, code=codes[0])
    image.header.set_qform(qform, code=codes[1])
    content = bytearray(image.to_bytes())
    header = np.frombuffer(content[:348], image.header.template_dtype).copy()
    for key, value in fields.items():
        header[key] = value
    content[:348] = header.tobytes()
    path.write_bytes(gzip.compress(bytes(content), compresslevel=1))
    return path


NOTHING = {f"srow_{axis}": [[0, 0, 0, 0]] for axis in "xyz"}
ROUNDED_UP = {"quatern_b": 0.0, "quatern_c": 0.0, "quatern_d": 1.000001}
READ = {
    "good": {},
    "a NaN as slope says that there is none": {"scl_slope": np.nan, "scl_inter": np.nan},
    "an infinite slope": {"scl_slope": np.inf, "scl_inter": 0},
    "an intercept that is no number": {"scl_slope": 1, "scl_inter": np.nan},
    "metres": {"sform": METRES, "qform": METRES, "xyzt_units": 1},
    "metres, and seconds": {"sform": METRES, "qform": METRES, "xyzt_units": 1 + 8},
    "micrometres": {
        "sform": np.diag([1e3, 1e3, 1e3, 1]) @ TURNED,
        "qform": np.diag([1e3, 1e3, 1e3, 1]) @ TURNED,
        "xyzt_units": 3,
    },
    "an empty sform": NOTHING,
    "a negative size": {"codes": (0, 1), "pixdim": [[1, -2, 2, 2, 0, 0, 0, 0]]},
    "an sform alone": {"codes": (1, 0)},
    "an sform alone, the sizes never set": {"codes": (1, 0), "pixdim": [[1, 1, 1, 1, 0, 0, 0, 0]]},
    "an sform in another space, turned": {"qform": HALF_TURN, "codes": (4, 1)},
    "an sform that is rounded": {"sform": TURNED * 1.001},
}


@pytest.mark.parametrize("what", READ)
def test_one_meaning_is_read(tmp_path, what):
    found = read_image(save(tmp_path / "a.nii.gz", **READ[what]))
    expected = nib.as_closest_canonical(nib.Nifti1Image(VOXELS, TURNED))
    np.testing.assert_allclose(found.affine, expected.affine, atol=0.02)
    np.testing.assert_array_equal(found.dataobj, expected.dataobj)


def test_a_quaternion_rounded_to_more_than_a_rotation_is_one(tmp_path):
    found = read_image(save(tmp_path / "a.nii.gz", codes=(0, 1), **ROUNDED_UP))
    half_turn = HALF_TURN.copy()
    half_turn[:3, 3] = TURNED[:3, 3]
    expected = nib.as_closest_canonical(nib.Nifti1Image(VOXELS, half_turn))
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)
    np.testing.assert_array_equal(found.dataobj, expected.dataobj)


COLOURS = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
REFUSED = {
    "voxels of 1.83 x 1.83 x 1.83 by its sform, of 2 x 2 x 2": {"sform": SCALED},
    "voxels of 2 x 2 x 2 by its sform, of 2 x 2 x 3": {
        "codes": (1, 0),
        "pixdim": [[1, 2, 2, 3, 0, 0, 0, 0]],
    },
    "mirror image of its qform, so left and right are unknown": {"sform": MIRRORED},
    r"complex voxels \(complex64\)": {"array": VOXELS.astype(np.complex64)},
    r"complex voxels \(complex128\)": {"array": VOXELS.astype(np.complex128)},
    r"colour voxels \(RGB\)": {"array": COLOURS},
    "affine is singular": {"codes": (1, 0), **NOTHING},
    "affine is singular;": {"srow_x": [[np.nan, 0, 0, 0]]},
    "the qform is no rotation .* length 2": {"codes": (0, 1), **ROUNDED_UP, "quatern_d": 2.0},
    "the qform is no rotation .* length nan": {"codes": (0, 1), "quatern_b": np.nan},
    "voxels of 0.002 x 0.002 x 0.002 mm; correct the header's sizes, or its unit": {
        "sform": METRES,
        "qform": METRES,
    },
    "voxels of 2000 x 2000 x 2000 mm": {"xyzt_units": 1},
}


@pytest.mark.parametrize("message", REFUSED)
def test_two_meanings_are_one_line(tmp_path, message):
    path = save(tmp_path / "a.nii.gz", **REFUSED[message])
    with pytest.raises(UserError, match=message) as error:
        read_image(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


ANGLES = st.floats(-180, 180)
SIZES = st.floats(0.5, 6)


@given(angles=st.tuples(ANGLES, ANGLES, ANGLES), sizes=st.tuples(SIZES, SIZES, SIZES))
def test_no_rotation_and_no_size_contradicts_itself(tmp_path_factory, angles, sizes):
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag(sizes)
    path = tmp_path_factory.getbasetemp() / "turned.nii.gz"
    for flip in (1, -1):
        given_ = affine @ np.diag([flip, 1, 1, 1])
        found = read_image(save(path, sform=given_, qform=given_))
        expected = nib.as_closest_canonical(nib.Nifti1Image(VOXELS, given_))
        np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)
