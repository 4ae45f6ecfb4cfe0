"""Scans of which only the brain is left: any pose, their own mask, no extractor."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.grid import Grid, sri24_grid
from wfdm.data.sessions import sessions_of
from wfdm.data.volumes import read_image
from wfdm.errors import SessionError
from wfdm.preprocess.brains import own_brain
from wfdm.preprocess.placing import dice
from wfdm.preprocess.session import preprocess_session
from wfdm.preprocess.similarity import resample
from wfdm.preprocess.work import needs_weights

# The extractor cannot work: no weights are given to it.
SETTINGS = PreprocessSettings(spacing=2.0, registration_mm=2.0, extractor="hd-bet")
UPSIDE_DOWN, TILTED = (180, 4, 0), (14, -9, 11)


def brain_in_pose(atlas, degrees: tuple, background: float = 0.0):
    """Return the atlas brain as another scanner would see it, and the matrix that moved it."""
    image = read_image(atlas["sri24"])
    middle = sri24_grid(1.0).affine @ [119.5, 119.5, 77, 1]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = np.array([40, -280, 15]) - matrix[:3, :3] @ middle[:3]
    affine = np.diag([1.5, 1.5, 2.0, 1.0])
    affine[:3, 3] = np.array([40, -280, 15]) - [105, 120, 100]
    grid = Grid((140, 160, 100), affine)
    array = resample(image, np.linalg.inv(matrix), grid)
    noise = np.random.default_rng(3).normal(0, 0.02 * array.max(), array.shape)
    noisy = np.where(array > 0, np.maximum(array + noise, 1), 0) + background
    return nib.Nifti1Image(noisy.astype(np.float32), affine), matrix


def run(atlas, folder: Path, path: Path):
    given = (SETTINGS, 1, atlas["sri24"], atlas["sri24-head"])
    return preprocess_session({"T1w": path}, folder / "out", "sub-1", *given, state="brain")


@pytest.mark.parametrize("degrees", [TILTED, UPSIDE_DOWN])
def test_a_brain_is_laid_on_the_atlas_brain_from_any_pose(atlas, tmp_path, degrees):
    image, matrix = brain_in_pose(atlas, degrees)
    nib.save(image, tmp_path / "sub-1_T1w.nii.gz")
    result = run(atlas, tmp_path, tmp_path / "sub-1_T1w.nii.gz")
    points = np.array([[-60, 60, 0], [0, -80, 60], [0, 0, 30], [1, 1, 1]]) * 1.0
    points[:3] += (sri24_grid(1.0).affine @ [119.5, 119.5, 77, 1])[:3, None]
    away = np.linalg.norm(((result.registered["T1w"].matrix - matrix) @ points)[:3], axis=0)
    assert away.max() < 1.5
    assert result.atlas_dice > 0.97
    sidecar = json.loads(next((tmp_path / "out").glob("*_mask.json")).read_text())
    assert (sidecar["DeliveredState"], sidecar["BrainExtraction"]) == (
        "brain",
        "none: as delivered",
    )


def test_its_own_mask_is_kept(atlas):
    image, _ = brain_in_pose(atlas, TILTED)
    truth = ndimage.binary_fill_holes(np.asarray(image.dataobj) > 0)
    shifted = nib.Nifti1Image(np.asarray(image.dataobj) - 1024, image.affine)
    for given in (image, shifted):
        brain, mask = own_brain(given, Path("x"), None)
        assert dice(np.asarray(mask.dataobj) > 0, truth) > 0.99
        assert not np.asarray(brain.dataobj)[~truth].any()


def test_a_derivatives_mask_says_what_is_brain(atlas, tmp_path):
    image, _ = brain_in_pose(atlas, TILTED, background=500)  # as if there were a skull
    inside = np.asarray(image.dataobj) > 500
    coarse = nib.Nifti1Image(inside[::2].astype(np.uint8), image.affine @ np.diag([2, 1, 1, 1.0]))
    path = tmp_path / "sub-1_desc-preproc_T1w.nii.gz"
    nib.save(image, path)
    with pytest.raises(SessionError, match=r"desc-brain_mask\.nii\.gz: no such file"):
        run(atlas, tmp_path, path)
    nib.save(coarse, tmp_path / "sub-1_desc-brain_mask.nii.gz")
    assert run(atlas, tmp_path, path).atlas_dice > 0.95


def test_a_whole_head_is_no_brain(atlas, tmp_path):
    head = read_image(atlas["sri24-head"])
    path = tmp_path / "sub-1_T1w.nii.gz"
    nib.save(
        nib.Nifti1Image(
            np.asarray(head.dataobj)[::2, ::2, ::2], head.affine @ np.diag([2, 2, 2, 1])
        ),
        path,
    )
    with pytest.raises(SessionError, match=r"mL \(plausible.*give its source another state"):
        run(atlas, tmp_path, path)
    assert not (tmp_path / "out").exists()


def test_no_extractor_is_asked_for_and_the_mask_is_an_input():
    row = {"dataset": "A", "subject": "1", "session": "", "group": "0", "modality": "T1w"}
    row |= {"path": "a/sub-1_desc-preproc_T1w.nii.gz", "state": "brain"}
    session = sessions_of([row])["A/sub-1"]
    assert not needs_weights(session)
    assert [path.name for path in session.files()] == [
        "sub-1_desc-preproc_T1w.nii.gz",
        "sub-1_desc-brain_mask.nii.gz",
    ]
