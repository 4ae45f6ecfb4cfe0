"""Bad input through the `wfdm` command itself: one line, a status, nothing half-written."""

import json
import os
import sys

import pytest
import torch

from wfdm.cli import main
from wfdm.config.study import Study

FILES = {
    "broken.json": '{"kind":',
    "list.json": "[1, 2]",
    "text.tsv": "no\ttable\twith\tthese\tcolumns\n",
    "ragged.tsv": "a\tb\n1\t2\t3\t4\n1\n",
    "empty.tsv": "",
    "binary.tsv": b"\xff\xfe\x00\x81",
    "plain": "x",
    "haar/config.json": '{"kind": "haar", "levels": 1}',
    "listed/config.json": "[1, 2]",
    "cut/config.json": '{"kind": "denoi',
}
SPLIT = ("--scans", "text.tsv", "--out", "out/o.tsv", "--statistics", "out/s.json")
SPLIT = ("split", *SPLIT, "--leaks", "out/l.tsv", "--settings")
SAMPLE = ("sample", "--modality", "T1w", "--out", "out", "--checkpoint")
GIVEN = ("--field", "age=3", "--checkpoint", "haar")
IMPORT = ("import-checkpoint", "--out", "out")
COVERAGE = ("coverage", "--out", "out/o.tsv", "--scans")
BAD = {
    "settings that are missing": ((*SPLIT, "none.json"), "none.json cannot be read"),
    "settings that are a folder": ((*SPLIT, "haar"), "haar cannot be read"),
    "settings that are broken": ((*SPLIT, "broken.json"), "not valid JSON"),
    "settings that are a list": ((*SPLIT, "list.json"), "--settings"),
    "settings that are binary": ((*SPLIT, "binary.tsv"), "cannot be read"),
    "settings without their keys": ((*SPLIT, "{}"), "'seed': Field required"),
    "a seed that is no number": ((*SPLIT, '{"seed": "x"}'), "'seed'"),
    "a table that is missing": ((*COVERAGE, "none.tsv"), "none.tsv: cannot be read"),
    "a table that is a folder": ((*COVERAGE, "haar"), "haar: cannot be read"),
    "a table that is empty": ((*COVERAGE, "empty.tsv"), "empty.tsv: cannot be read"),
    "a table that is binary": ((*COVERAGE, "binary.tsv"), "binary.tsv: cannot be read"),
    "a table of another kind": ((*COVERAGE, "text.tsv"), "text.tsv: "),
    "a compressor as a denoiser": ((*SAMPLE, "haar"), "does not describe a trained denoiser"),
    "a list as a denoiser": ((*SAMPLE, "listed"), "does not describe a trained denoiser"),
    "a denoiser that was cut": ((*SAMPLE, "cut"), "does not describe a trained denoiser"),
    "a file as a denoiser": ((*SAMPLE, "plain"), "name another path"),
    "no denoiser": ((*SAMPLE, "none"), "is missing; train the denoiser"),
    "a field without a value": ((*SAMPLE, "haar", "--field", "tumor"), "form NAME=VALUE"),
    "a field with nothing": ((*SAMPLE, "haar", "--field", "tumor="), "form NAME=VALUE"),
    "a value without a field": ((*SAMPLE, "haar", "--field", "=yes"), "form NAME=VALUE"),
    "a field that nobody knows": ((*SAMPLE, "haar", "--field", "shoe=3"), "no metadata field"),
    "a field given twice": ((*SAMPLE, "haar", "--age", "3", "--field", "age=4"), "given twice"),
    "a sex in no spelling": ((*SAMPLE, "haar", "--sex", "x"), "sex is 'x'"),
    "no volume": ((*SAMPLE, "haar", "-n", "0"), "it must be 1 or more"),
    "no step": ((*SAMPLE, "haar", "--steps", "0"), "steps"),
    "a sampler that nobody knows": ((*SAMPLE, "haar", "--sampler", "x"), "sampler"),
    "an unknown modality": (("sample", "--modality", "PD", *GIVEN), "unknown modality 'PD'"),
    "nothing asked for": (("sample", *GIVEN), "what is wanted is not said"),
    "an order that is missing": (
        ("sample", "--requests", "none.tsv", "--checkpoint", "haar"),
        "none.tsv",
    ),
    "an order and options": (
        ("sample", "--requests", "text.tsv", "--age", "3", "--checkpoint", "haar"),
        "give no --modality",
    ),
    "a checkpoint that is a list": ((*IMPORT, "list.pt"), "holds no weights by name, but a list"),
    "a checkpoint of numbers": ((*IMPORT, "numbers.pt"), "holds no weights by name"),
    "a checkpoint that is missing": ((*IMPORT, "none.pt"), "No such file"),
    "a checkpoint that is a folder": ((*IMPORT, "haar"), "haar"),
    "a checkpoint that is text": ((*IMPORT, "plain"), "neither a torch nor a safetensors file"),
    "an audit of nothing": (("audit", "none.csv"), "is missing"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    torch.save([1, 2, 3], tmp_path / "list.pt")
    torch.save({"state_dict": {1: 2}}, tmp_path / "numbers.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(folder, monkeypatch, capfd, what):
    arguments, message = BAD[what]
    monkeypatch.setattr(sys, "argv", ["wfdm", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capfd.readouterr().err
    assert ended.value.code not in (0, None)
    assert message in told and len(told.splitlines()) == 1 and told.startswith("wfdm: ")
    assert [path for path in (folder / "out").rglob("*") if path.is_file()] == []


def test_an_output_below_a_file_is_one_line(folder, monkeypatch, capfd):
    (folder / "good.pt").write_bytes(b"")
    arguments = ["import-checkpoint", "list.pt", "--out", "plain"]
    monkeypatch.setattr(sys, "argv", ["wfdm", *arguments])
    with pytest.raises(SystemExit):
        main()
    told = capfd.readouterr().err
    assert len(told.splitlines()) == 1 and "plain" in told
    assert (folder / "plain").read_text() == "x"


def test_a_tilde_is_the_home_folder():
    study = Study.model_validate({"results": "~/x", "assets": "~/y"})
    home = os.path.expanduser("~")
    assert (study.results, study.assets) == (f"{home}/x", f"{home}/y")
    assert json.loads(study.model_dump_json())["results"] == f"{home}/x"
