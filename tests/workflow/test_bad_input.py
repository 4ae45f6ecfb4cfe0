"""Bad input at the command line: one clear line, a non-zero exit, nothing half-written."""

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from wfdm.config import stages
from wfdm.config.preprocess import PreprocessSettings

SETTINGS = stages.PreprocessStage(
    seed=1, preprocess=PreprocessSettings(extractor="deepbet", spacing=2, registration_mm=3)
).model_dump_json()


def volume(**changes) -> nib.Nifti1Image:
    data = changes.get("data", np.random.default_rng(0).random((24, 24, 24), np.float32))
    return nib.Nifti1Image(data, changes.get("affine", np.eye(4)))


def truncated(path):
    nib.save(volume(), path)
    path.write_bytes(path.read_bytes()[:9000])


def damaged(path):
    """A gzip stream that ends early without its checksum, though the header is readable."""
    nib.save(volume(), path)
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[: len(whole) // 2]))


def with_nan(path):
    data = np.ones((24, 24, 24), np.float32)
    data[3, 3, 3] = np.nan
    nib.save(volume(data=data), path)


def four_dimensional(path):
    nib.save(volume(data=np.ones((24, 24, 24, 5), np.float32)), path)


def all_zero(path):
    nib.save(volume(data=np.zeros((24, 24, 24), np.float32)), path)


def singular(path):
    image = volume()
    affine = np.diag([1.0, 0.0, 1.0, 1.0])
    image.set_sform(affine, code=1)
    image.header.set_qform(None, code=0)
    nib.save(image, path)


def not_nifti(path):
    path.write_bytes(b"not an image")


@pytest.mark.parametrize(
    "spoil",
    [truncated, damaged, with_nan, four_dimensional, all_zero, singular, not_nifti],
    ids=lambda spoil: spoil.__name__,
)
def test_a_broken_scan(wfdm, atlas, tmp_path, spoil):
    scan = tmp_path / "sub-1_T1w.nii.gz"
    spoil(scan)
    out = tmp_path / "out"
    code, told = preprocess(wfdm, atlas, out, f"T1w={scan}")
    assert code == 1
    assert len(told.strip().splitlines()) == 1, told
    assert told.startswith("wfdm: ") and str(scan) in told
    assert not out.exists() or not any(path.is_file() for path in out.rglob("*"))


def test_a_broken_scan_is_recorded_when_the_study_shall_go_on(wfdm, atlas, tmp_path):
    scan = tmp_path / "sub-1_T1w.nii.gz"
    truncated(scan)
    code, told = preprocess(wfdm, atlas, tmp_path, f"T1w={scan}", more=["--tolerate"])
    assert code == 0 and told.startswith("wfdm: A sub-1 failed: ") and str(scan) in told
    record = json.loads((tmp_path / "sub-1_desc-preproc.prov.json").read_text())
    assert "cut short" in record["results"]["failed"]
    (note,) = map(Path, record["outputs"])
    assert "cut short" in note.read_text()


def test_a_missing_weight_fails_the_study_not_the_session(wfdm, atlas, tmp_path):
    settings = stages.PreprocessStage(seed=1, preprocess=PreprocessSettings()).model_dump_json()
    code, told = preprocess(
        wfdm, atlas, tmp_path, "T1w=x.nii", more=["--tolerate"], settings=settings
    )
    assert code == 1 and "hd-bet-0" in told and len(told.splitlines()) == 1


def test_unknown_state(wfdm, atlas, tmp_path):
    code, told = preprocess(wfdm, atlas, tmp_path, "T1w=x.nii", more=["--state", "half"])
    assert (code, told) == (
        *(1, "wfdm: unknown state 'half': use raw, preprocessed, skull, identity\n"),
    )


def preprocess(wfdm, atlas, out, *scans, more=(), settings=SETTINGS):
    record = out / "sub-1_desc-preproc.prov.json"
    return wfdm(
        *("preprocess", "--settings", settings, "--dataset", "A", "--session", "sub-1"),
        *("--atlas", atlas["sri24"], "--atlas-head", atlas["sri24-head"], "--record", record),
        *(part for scan in scans for part in ("--scan", scan)),
        *more,
    )


def test_unknown_modality(wfdm, atlas, tmp_path):
    code, told = preprocess(wfdm, atlas, tmp_path, "PDw=x.nii.gz")
    assert (code, told) == (1, "wfdm: unknown modality 'PDw': use T1w, T2w, T1Gd, FLAIR\n")


def test_missing_scan(wfdm, atlas, tmp_path):
    code, told = preprocess(wfdm, atlas, tmp_path, f"T1w={tmp_path}/none.nii.gz")
    assert code == 1 and "none.nii.gz" in told and len(told.splitlines()) == 1


def test_missing_asset(wfdm, tmp_path):
    nowhere = {"sri24": tmp_path / "sri24.nii", "sri24-head": tmp_path / "head.nii"}
    code, told = preprocess(wfdm, nowhere, tmp_path, "T1w=x.nii.gz")
    assert code == 1 and len(told.splitlines()) == 1
    assert "asset 'sri24' is missing" in told and "wfdm asset sri24 --out" in told


def test_unknown_setting(wfdm, tmp_path):
    code, told = wfdm(
        *("split", "--settings", '{"seed": 1, "split": {"trian": 0.8}}'),
        *("--scans", "x.tsv", "--out", tmp_path / "o.tsv", "--statistics", tmp_path / "s.json"),
        *("--leaks", tmp_path / "l.tsv"),
    )
    assert code == 1 and "unknown key 'split.trian'" in told and len(told.splitlines()) == 1


def test_audit_of_nothing(wfdm, tmp_path):
    code, told = wfdm("audit", tmp_path / "none.csv")
    assert code == 1 and "is missing" in told and len(told.splitlines()) == 1


def test_request_for_an_unknown_modality(wfdm, tmp_path):
    code, told = wfdm("sample", "--checkpoint", tmp_path, "--modality", "PD", "--out", tmp_path)
    assert code == 1 and "unknown modality 'PD'" in told
