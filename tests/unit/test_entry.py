"""Already preprocessed scans enter at their right step; the SRI-24 atlas itself is the scan."""

import json

import nibabel as nib
import numpy as np
import pytest

from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.grid import sri24_grid
from wfdm.data.volumes import read_image
from wfdm.errors import SessionError
from wfdm.preprocess.session import preprocess_session
from wfdm.preprocess.similarity import resample

SETTINGS = PreprocessSettings(spacing=2.0, extractor="deepbet")
PREFIX = "sub-001"


@pytest.fixture(scope="module")
def brain(atlas) -> nib.Nifti1Image:
    return read_image(atlas["sri24"])


def enter(array, affine, state, atlas, folder):
    """Preprocess one T1w, stored in LPS order as BraTS does, and return what came out."""
    image = nib.Nifti1Image(array, affine)
    stored = image.as_reoriented(
        nib.orientations.ornt_transform(
            nib.io_orientation(affine), nib.orientations.axcodes2ornt("LPS")
        )
    )
    path = folder / f"{PREFIX}_T1w.nii.gz"
    nib.save(stored, path)
    result = preprocess_session({"T1w": path}, folder, PREFIX, SETTINGS, 1, *atlas.values(), state)
    volume = nib.load(result.paths.volumes["T1w"])
    sidecar = json.loads((folder / f"{PREFIX}_space-SRI24_desc-preproc_T1w.json").read_text())
    assert sidecar["DeliveredState"] == state
    np.testing.assert_allclose(volume.affine, sri24_grid(2.0).affine)
    assert nib.load(result.paths.mask).shape == volume.shape
    return np.asarray(volume.dataobj), np.asarray(nib.load(result.paths.mask).dataobj) > 0, sidecar


def test_identity_is_normalised_and_nothing_else(brain, atlas, tmp_path):
    """As BraTS: SRI-24, stripped, integers, some negative inside the brain."""
    array = np.asarray(brain.dataobj)
    inside = array > 0
    delivered = np.where(inside, array - 200, 0).astype(np.int16)
    found, mask, sidecar = enter(delivered, brain.affine, "identity", atlas, tmp_path)
    expected = resample(nib.Nifti1Image(delivered, brain.affine), np.eye(4), sri24_grid(2.0))
    grid_mask = resample(nib.Nifti1Image(inside * 1.0, brain.affine), np.eye(4), sri24_grid(2.0))
    assert (mask == (grid_mask > 0.5)).mean() > 0.999
    masked = np.where(mask, expected, 0)
    low, high = np.quantile(masked, [0.001, 0.999])
    assert low < 0, "some of the brain is darker than the background"
    wanted = np.clip((masked - low) / (high - low), 0, 1) * mask
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert sidecar["SkullStripped"] and sidecar["IntensityPercentiles"] == [0.1, 99.9]


@pytest.mark.parametrize(("state", "stripped"), [("preprocessed", True), ("skull", False)])
def test_normalised_volumes_keep_their_values(brain, atlas, tmp_path, state, stripped):
    source = brain if stripped else read_image(atlas["sri24-head"])
    array = np.asarray(source.dataobj)
    array = np.clip(array / np.quantile(array, 0.999), 0, 1).astype(np.float32)
    found, _, sidecar = enter(array, source.affine, state, atlas, tmp_path)
    wanted = resample(nib.Nifti1Image(array, source.affine), np.eye(4), sri24_grid(2.0))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert sidecar["SkullStripped"] is stripped
    assert "IntensityPercentiles" not in sidecar


def test_a_state_that_is_not_true_is_refused(brain, atlas, tmp_path):
    array = np.asarray(brain.dataobj)
    top = float(resample(brain, np.eye(4), sri24_grid(2.0)).max())
    with pytest.raises(SessionError, match=rf"0 to {top:g},.*promises 0 to 1.*'identity'"):
        enter(array, brain.affine, "preprocessed", atlas, tmp_path)
    moved = brain.affine.copy()
    moved[:3, 3] += 119  # centred on the scanner's origin, as raw scans are
    with pytest.raises(SessionError, match=r"not in SRI-24 space.*'raw'"):
        enter(array, moved, "identity", atlas, tmp_path)
    with pytest.raises(SessionError, match="hardly overlaps the atlas brain"):
        enter(array[:, ::-1], brain.affine, "identity", atlas, tmp_path / ".")
    assert not [path for path in tmp_path.iterdir() if "SRI24" in path.name]
