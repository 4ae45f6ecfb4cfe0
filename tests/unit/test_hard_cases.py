"""Cases that other pipelines stumble over, and this one must not: places, poses, paths, locales.

More of them: heads and brains from any start and upside down (`test_registration`, `test_brains`),
negative sizes and every form of a header (`test_headers`, `test_inputs`).
"""

import os
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT
from wfdm.config.cohort import BidsSource
from wfdm.config.preprocess import PreprocessSettings
from wfdm.config.study import Study
from wfdm.data.grid import sri24_grid
from wfdm.data.volumes import read_image
from wfdm.preprocess.registration import region_around, rigid
from wfdm.preprocess.similarity import isotropic
from wfdm.stages.plan import settings_of

TURNS = {
    "upside down": np.diag([-1.0, 1, -1, 1]),  # turned about the axis from back to front
    "lying on its face": np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_head_33_metres_off_is_found(atlas, turn):
    """Some converters write the scanner's table position; a float32 still holds it to 4 um."""
    head = isotropic(read_image(atlas["sri24-head"]), 3.0)
    brain = np.asarray(read_image(atlas["sri24"]).dataobj) > 0
    off = np.eye(4)
    off[:3, 3] = [33_000, -33_000, 33_000]
    truth = off @ TURNS[turn]
    moved = nib.Nifti1Image(np.asarray(head.dataobj), truth @ head.affine)
    found = rigid(head, nib.as_closest_canonical(moved), region_around(brain), 4.0, 1, "a head")
    inside = np.argwhere(brain)[::2000]
    points = sri24_grid(1.0).affine @ np.c_[inside, np.ones(len(inside))].T
    away = np.linalg.norm(((found.matrix - truth) @ points)[:3], axis=0)
    assert away.max() < 1.0


@pytest.fixture
def plain(tmp_path):
    """An environment of the C locale, where no git is found."""
    (tmp_path / "bin").mkdir()
    for name in ("bash", "sh", "env"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    kept = {key: os.environ[key] for key in ("HOME", "PYTHONPATH") if key in os.environ}
    return kept | {"PATH": str(tmp_path / "bin"), "LC_ALL": "C"}


def test_blanks_and_umlauts_in_paths_with_the_c_locale_and_without_git(atlas, tmp_path, plain):
    lab, out = tmp_path / "Köln Süd" / "LAB", tmp_path / "Ergebnisse für ß"
    image = lab / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    shutil.copy(atlas["sri24"], tmp_path / "brain.nii")
    nib.save(nib.load(tmp_path / "brain.nii"), image)  # as BraTS gives it: on the atlas's grid
    (lab / "participants.tsv").write_text("participant_id\tage\nsub-1\t30\n", encoding="utf-8")
    study = Study(
        sources=[BidsSource(kind="bids", path=str(lab), state="identity")],
        preprocess=PreprocessSettings(spacing=3.0),
    )
    scans, sessions = out / "scans.tsv", out / "sessions.tsv"
    index = ["index", "--settings", settings_of(study, "index"), "--raw", out / "raw"]
    index += ["--aliases", ROOT / "config/people.tsv", "--report", out / "report.tsv"]
    index += ["--people", out / "people.tsv", "--out", scans]
    preprocess = ["preprocess", "--settings", settings_of(study, "preprocess"), "--scans", scans]
    preprocess += ["--atlas", atlas["sri24"], "--atlas-head", atlas["sri24-head"]]
    preprocess += ["--root", out / "pre", "--logs", out / "logs", "--out", sessions]
    for arguments in (index, preprocess):
        call = [sys.executable, "-c", "from wfdm.cli import main; main()", *map(str, arguments)]
        done = subprocess.run(call, env=plain, cwd=ROOT, capture_output=True)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert pd.read_csv(scans, sep="\t", dtype=str)["path"].tolist() == [str(image)]
    (volume,) = (out / "pre").rglob("*_desc-preproc_T1w.nii.gz")
    found = nib.load(volume)
    assert found.shape == sri24_grid(3.0).shape and float(found.get_fdata().max()) == 1.0
