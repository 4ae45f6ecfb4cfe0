"""Bad input at the command line: one clear line, a non-zero exit, nothing half-written."""

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.table import columns, write_table
from wfdm.stages import preprocess as stage

SETTINGS = stage.Settings.model(
    seed=1, preprocess=PreprocessSettings(extractor="deepbet", spacing=2, registration_mm=3)
)


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


SPOILT = [truncated, damaged, with_nan, four_dimensional, all_zero, singular, not_nifti]


def lines(told: str) -> list[str]:
    """Return what was told, without the progress bar."""
    parts = told.replace("\r", "\n").splitlines()
    return [line for line in map(str.strip, parts) if line and "it/s]" not in line]


def test_broken_scans_are_recorded_each_in_one_line_and_the_others_go_on(wfdm, atlas, tmp_path):
    paths = {spoil.__name__.replace("_", ""): spoil for spoil in SPOILT} | {"missing": None}
    for name, spoil in paths.items():
        paths[name] = tmp_path / f"sub-{name}_T1w.nii.gz"
        if spoil:
            spoil(paths[name])
    code, told = preprocess(wfdm, atlas, tmp_path, paths)
    assert code == 0, told
    assert not [line for line in lines(told) if "Traceback" in line]
    for name, path in paths.items():
        (line,) = [line for line in lines(told) if line.startswith(f"wfdm: A/sub-{name} failed: ")]
        assert str(path) in line
        folder = tmp_path / "out" / "A" / f"sub-{name}" / "anat"
        record = json.loads((folder / f"sub-{name}_desc-preproc.prov.json").read_text())
        (note,) = map(Path, record["outputs"])
        assert note.read_text() == record["results"]["failed"] + "\n"
        assert record["results"]["failed"] in line
        assert set(folder.iterdir()) == {note, Path(f"{folder}/sub-{name}_desc-preproc.prov.json")}
    assert lines(told)[-1] == "preprocess: 8 sessions, 8 failed, 8 done in this run"


def test_a_missing_weight_fails_the_study_not_the_session(wfdm, atlas, tmp_path):
    settings = SETTINGS.model_copy(update={"preprocess": PreprocessSettings()})
    code, told = preprocess(wfdm, atlas, tmp_path, {"1": "x.nii"}, settings)
    assert code == 1 and "hd-bet-0" in told and len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"state": "half"}, "state: row 0: 'half' fails"),
        ({"modality": "PDw"}, "modality: unknown modality 'PDw': use T1w, T2w, T1Gd, FLAIR"),
    ],
)
def test_a_wrong_scan_table(wfdm, atlas, tmp_path, row, message):
    code, told = preprocess(wfdm, atlas, tmp_path, {"1": "x.nii"}, **row)
    assert code == 1 and len(told.splitlines()) == 1
    assert told.startswith(f"wfdm: {tmp_path}/scans.tsv: {message}")


def test_a_session_that_is_not_there(wfdm, atlas, tmp_path):
    code, told = preprocess(wfdm, atlas, tmp_path, {"1": "x.nii"}, more=["--session", "A/sub-2"])
    assert code == 1 and len(told.splitlines()) == 1
    assert "there is no 'A/sub-2' in the scan table" in told


def preprocess(wfdm, atlas, folder, paths, settings=SETTINGS, more=(), **row):
    """Preprocess the T1w scans at `paths`, by subject, all of dataset A."""
    common = dict.fromkeys(columns(), "") | {
        **{"dataset": "A", "group": "0", "modality": "T1w", "state": "raw"},
        **row,
    }
    rows = [
        common
        | {"scan_id": f"A/sub-{subject}_T1w", "person": f"A/{subject}"}
        | {"subject": subject, "path": str(path)}
        for subject, path in paths.items()
    ]
    write_table(pd.DataFrame(rows), folder / "scans.tsv")
    out = folder / "out"
    return wfdm(
        *("preprocess", "--settings", settings.model_dump_json()),
        *("--scans", folder / "scans.tsv", "--atlas", atlas["sri24"]),
        *("--atlas-head", atlas["sri24-head"], "--root", out, "--logs", out / "logs"),
        *("--out", out / "sessions.tsv", *more),
    )


def test_missing_asset(wfdm, tmp_path):
    nowhere = {"sri24": tmp_path / "sri24.nii", "sri24-head": tmp_path / "head.nii"}
    code, told = preprocess(wfdm, nowhere, tmp_path, {"1": "x.nii.gz"})
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
