"""The audit: nothing that was changed, cut, deleted or left over stays unnamed."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.unit import small_study as small
from tests.unit.audited import OF_TABLE, edit, problems
from wfdm.errors import UserError
from wfdm.provenance import records
from wfdm.provenance.audit import Audit
from wfdm.provenance.digests import digests
from wfdm.provenance.records import record_path
from wfdm.provenance.roots import mark
from wfdm.provenance.show import as_json, tree
from wfdm.stages import audit as stage

TABLE = Path(small.TABLE)
ROOT = Path(small.ROOT)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A small study; the tests stand in its checkout."""
    return small.stand_in_it(tmp_path, monkeypatch)


def test_a_table_is_followed_to_its_sources(study):
    found = Audit().of(TABLE)
    assert not found.problems and not found.notes
    assert len(found.artefacts) == OF_TABLE
    assert {os.path.relpath(path) for path in found.sources} == set(small.OUTSIDE)
    expected = digests(Path(path) for path in [*found.artefacts, *found.sources])
    assert found.artefacts | found.sources == expected


def test_a_whole_study_is_audited_but_for_what_is_no_result(study):
    found = Audit().of(ROOT)
    assert not found.problems
    assert len(found.artefacts) == small.ARTEFACTS + 1  # and study.yaml


@pytest.mark.parametrize(
    "name",
    [
        "extra.csv",
        "tables/table4.csv.bak",
        "samples/g/logs/x.nii.gz",
        "compressors/c/x/last",
        "cache.f16",
    ],
)
def test_a_file_without_a_record_is_named(study, name):
    small.put(str(ROOT / name))
    (told,) = problems(ROOT)
    assert told.startswith(f"{ROOT}/{name} ") and "no record lists it" in told
    assert not problems(TABLE)


CHANGED = {
    "checkpoint": small.MODEL,
    "checkpoint's configuration": f"{small.ROOT}/compressors/c/config.json",
    "latent": f"{small.ROOT}/latents/c/shard-0000-of-0001.npy",
    "sample": f"{small.SAMPLE}.nii.gz",
    "sidecar": f"{small.SAMPLE}.json",
    "volume": f"{small.SESSION}_T1w.nii.gz",
    "mask": f"{small.SESSION}_mask.nii.gz",
    "transform": f"{small.SESSION}_xfm.mat",
    "raw phantom": small.RAW,
    "raw scan": "lab/sub-2_T1w.nii.gz",
    "published table": "config/published/4.csv",
    "table": small.TABLE,
}


@pytest.mark.parametrize("path", CHANGED.values(), ids=CHANGED)
def test_a_changed_byte_is_named(study, path):
    content = bytearray(Path(path).read_bytes())
    content[0] ^= 1
    Path(path).write_bytes(content)
    (told,) = problems(TABLE)
    assert told.startswith(f"{path} has sha256 ") and "changed after the fact" in told


@pytest.mark.parametrize("path", [small.MODEL, small.RAW, "lab/sub-2_T1w.nii.gz"])
def test_a_missing_file_is_named(study, path):
    Path(path).unlink()
    (told,) = problems(TABLE)
    assert told.startswith(f"{path} is missing")


def test_a_swapped_scan_is_named_whatever_links_there_are(study):
    other = Path("lab/sub-3_T1w.nii.gz")
    other.write_text("another person")
    Path("lab/sub-2_T1w.nii.gz").unlink()
    Path("lab/sub-2_T1w.nii.gz").symlink_to(other.absolute())
    (told,) = problems(TABLE)
    assert "sub-3_T1w" in told and "sub-1_desc-preproc.prov.json says" in told


RECORDS = {
    "table": record_path(TABLE),
    "checkpoint": record_path(small.MODEL),
    "session": Path(f"{small.SESSION}_desc-preproc.prov.json"),
    "raw session": Path(f"{small.ROOT}/raw/A/sub-1/anat/sub-1_desc-raw.prov.json"),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_deleted_record_makes_no_source(study, record):
    made = list(records.read(record)["outputs"])
    record.unlink()
    (told,) = problems(TABLE)
    if record == RECORDS["session"]:  # a table lists it, not what it tells of
        assert told.startswith(f"{record} is missing")
    else:
        assert told.split()[0] in made and "no record lists it" in told
    unlisted = {line.split()[0] for line in problems(ROOT) if "no record lists it" in line}
    assert unlisted == set(made)


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
@pytest.mark.parametrize("kept", [0, 1, 100, -2])
def test_a_cut_record_is_one_line(study, record, kept):
    text = record.read_bytes()
    record.write_bytes(text[:kept])
    told = [line for line in problems(TABLE) if line.startswith(f"{record} ")]
    assert len(told) == 1 and ("is cut" in told[0] or "was edited" in told[0])


EDITS = {
    "seed": ('"seed": 42', '"seed": 43'),
    "code": ('"code": "c', '"code": "d'),
    "date": ('"started": "2', '"started": "3'),
    "stage": ('"stage": "', '"stage": "x'),
    "device": ('"device": "', '"device": "Another '),
    "layout": ("\n ", "\n  "),
    "end": ("\n}\n", "\n}"),
    "key given twice": ('{\n "stage"', '{\n "seed": 1,\n "stage"'),
    "output's digest": ('.safetensors": "', '.safetensors": "0'),
    "input's digest": ('volumes.tsv": "', 'volumes.tsv": "0'),
    "seal": ('"seal": "', '"seal": "0'),
}


@pytest.mark.parametrize(("old", "new"), EDITS.values(), ids=EDITS)
def test_an_edited_record_is_named(study, old, new):
    record = record_path(small.MODEL)
    edit(record, old, new)
    told = problems(TABLE)
    assert [line for line in told if line.startswith(f"{record} was edited")]


def test_an_edited_record_that_was_sealed_again_makes_another_chain(study):
    """Nothing in the study can tell; a digest that was kept elsewhere can."""
    before = Audit().of(TABLE).chain
    assert Audit().of(TABLE).chain == before
    path = record_path(small.MODEL)
    content = dict(records.read(path)) | {"seed": 43}
    del content["seal"]
    path.write_text(records.sealed(content))
    found = Audit().of(TABLE)
    assert not found.problems and found.chain != before


def test_two_records_of_one_file_are_an_error(study):
    shutil.copy(record_path(TABLE), ROOT / "tables/copy.prov.json")
    (told,) = problems(TABLE)
    assert told.startswith(f"{TABLE} is listed as made by two records")


def test_all_errors_are_told_not_only_the_first(study):
    for path in (small.MODEL, small.RAW, f"{small.SAMPLE}.json"):
        Path(path).write_text("changed")
    assert len(problems(TABLE)) == 3


@pytest.mark.parametrize(
    "path",
    [f"{small.SAMPLE}.nii.gz", f"{small.SESSION}_T1w.nii.gz", f"{small.ROOT}/data/people.tsv"],
)
def test_what_has_no_record_of_its_own_is_no_source(study, path):
    found = Audit().of(Path(path))
    assert not found.problems and os.path.realpath(path) in found.artefacts


def test_several_versions_of_a_package_are_a_note(study):
    path = record_path(TABLE)
    content = dict(records.read(path))
    del content["seal"]
    ours = content["environment"]["torch"]
    content["environment"] = content["environment"] | {"torch": "2.11.0"}
    path.write_text(records.sealed(content))
    found = Audit().of(TABLE)
    assert not found.problems
    assert found.notes == [f"made with torch 2.11.0 (1 records) and {ours} (8 records)"]


def test_an_asset_that_is_not_the_registered_one_is_told(study):
    small.put("lab/sri24.nii")
    small.step("index", "", [f"{ROOT}/data/own.tsv"], ["lab/sri24.nii"])
    audit = Audit(None, stage.wrong_asset)
    (told,) = audit.of(ROOT / "data/own.tsv").problems
    assert told.path.endswith("lab/sri24.nii") and "is not asset 'sri24'" in told.what


def test_the_tree_shows_each_record_once_and_json_all(study, capsys):
    stage.run(TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{TABLE}  table4  code cccccccccccc  seed 42  20")
    assert lines[-2] == f"verified: {OF_TABLE} artefacts made from 4 sources"
    assert lines[-1].startswith("chain: sha256 ")
    assert sum("lab/atlas.nii  source  sha256" in line for line in lines) == 1
    stage.run(TABLE, json=True)
    content = json.loads(capsys.readouterr().out)
    assert len(content["artefacts"]) == OF_TABLE and len(content["sources"]) == 4
    assert content["errors"] == [] and content["records"] == 9
    (ours,) = [each for each in content["artefacts"] if each["path"] == f"{small.SAMPLE}.json"]
    assert ours["stage"] == "sample-test"
    assert ours["record"] == f"{ROOT}/samples/g/shard-0000-of-0001.tsv.prov.json"


def test_the_command_tells_a_line_for_each_error(study, capsys):
    for path in (small.MODEL, small.RAW):
        Path(path).write_text("changed")
    with pytest.raises(UserError, match=f"^audit: {small.RAW} has sha256"):
        stage.run(TABLE, json=True)
    out, error = capsys.readouterr()
    assert error.startswith(f"wfdm: audit: {small.MODEL} has sha256")
    assert [each["path"] for each in json.loads(out)["errors"]] == [small.MODEL, small.RAW]


def test_records_that_name_each_other_end_the_walk(study):
    for one, two in (("a", "b"), ("b", "a")):
        small.put(f"{ROOT}/data/{two}")
        small.step("join", "", [f"{ROOT}/data/{one}"], [f"{ROOT}/data/{two}"])
    audit = Audit()
    found = audit.of(ROOT / "data/a")
    assert len(found.artefacts) == 2 and len(list(tree(audit, found))) == 3
    assert json.loads(as_json(audit, found))["records"] == 2


def test_many_records_take_little_time(tmp_path, monkeypatch):
    """Linear: 500 sessions in no time, each file read once."""
    monkeypatch.chdir(tmp_path)
    listed = []
    for number in range(500):
        session = f"r/preprocessed/A/sub-{number}/anat/sub-{number}"
        Path(session).parent.mkdir(parents=True)
        Path(f"{session}_T1w.nii.gz").write_text(session)
        made = digests([Path(f"{session}_T1w.nii.gz")])
        listed.append(f"{session}_desc-preproc.prov.json")
        Path(listed[-1]).write_text(
            records.sealed(
                {
                    **{"stage": "preprocess", "outputs": made, "inputs": {}, "code": ""},
                    **{"started": "", "device": "", "environment": {}},
                }
            )
        )
    small.step("volumes", "", ["r/volumes.tsv"], listed)
    mark(Path("r"), "study: many\n", {})
    began = time.process_time()
    found = Audit().of(Path("r/volumes.tsv"))
    assert not found.problems and len(found.artefacts) == 501
    assert time.process_time() - began < 2  # 0.1 s on a quiet machine
