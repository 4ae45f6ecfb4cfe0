"""The manifest of a snapshot: what it holds, and how it names scans that are not as they were."""

import hashlib
import os

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from wfdm.data import manifest as manifests
from wfdm.data.table import write_table
from wfdm.errors import UserError
from wfdm.stages import verify_manifest

PEOPLE = ("one", "two", "three")


def scan(folder, person):
    return folder / "LAB" / f"sub-{person}" / "anat" / f"sub-{person}_T1w.nii.gz"


def write(path, fill):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), fill, np.float32), np.eye(4)), path)


@pytest.fixture
def snapshot(tmp_path):
    """The manifest of three raw scans, and the configuration of their study."""
    paths = [scan(tmp_path, person) for person in PEOPLE]
    for number, path in enumerate(paths):
        write(path, number)
    names = [f"LAB/sub-{person}_T1w" for person in PEOPLE]
    table = manifests.build(pd.DataFrame({"scan_id": names, "path": map(str, paths)}))
    write_table(table, tmp_path / "manifest.tsv")
    aliases = tmp_path / "people.tsv"
    aliases.write_text("datasets\tpattern\tids\tevidence\tsource\n")
    sources = [{"kind": "bids", "path": str(tmp_path / "LAB")}]
    configuration = tmp_path / "study.yaml"
    configuration.write_text(
        yaml.safe_dump({"sources": sources, "people": {"aliases": str(aliases)}})
    )
    return tmp_path / "manifest.tsv", configuration


def test_it_holds_the_size_and_sha256_of_each_file(snapshot, tmp_path):
    table = manifests.read_manifest(snapshot[0])
    for person, row in zip(PEOPLE, table.to_dict("records"), strict=True):
        content = scan(tmp_path, person).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["bytes"] == str(len(content))


def test_nothing_is_said_of_what_is_as_it_was(snapshot, tmp_path, capsys):
    os.utime(scan(tmp_path, "one"))
    verify_manifest.run(snapshot[0], [snapshot[1]])
    assert capsys.readouterr().out.splitlines() == [f"{snapshot[0]}: 3 raw scans are as they were"]


def test_what_changed_is_named_in_a_line_each(snapshot, tmp_path, capsys):
    one, two, three, four = (scan(tmp_path, person) for person in (*PEOPLE, "four"))
    content = bytearray(one.read_bytes())
    content[-1] ^= 1
    one.write_bytes(content)  # the same size
    two.write_bytes(two.read_bytes() + b"x")
    three.unlink()
    write(four, 4)
    with pytest.raises(UserError, match="4 of its raw scans are not as they were"):
        verify_manifest.run(snapshot[0], [snapshot[1]])
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in told] == [
        f"changed: {one}",
        f"changed: {two}",
        f"missing: {three}",
        f"new: {four}",
    ]
    with pytest.raises(UserError, match="3 of its raw scans"):
        verify_manifest.run(snapshot[0])


def test_another_table_is_refused(tmp_path):
    (tmp_path / "scans.tsv").write_text("scan_id\tpath\n")
    with pytest.raises(UserError, match="has no column 'bytes'; is it a manifest"):
        verify_manifest.run(tmp_path / "scans.tsv")
