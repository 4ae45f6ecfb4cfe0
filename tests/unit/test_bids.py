"""BIDS folders in, scan table out; every mistake named."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from wfdm.config.cohort import BidsSource
from wfdm.data.bids_names import SUFFIXES, anatomical_suffixes
from wfdm.data.index import build, files_digest
from wfdm.data.sources.bids import plan
from wfdm.data.table import check_scans, columns, read_scans, write_scans
from wfdm.errors import UserError

RAW = Path(__file__).parents[3] / "shared" / "data" / "raw"


def make(root: Path, *names: str) -> BidsSource:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return BidsSource(kind="bids", path=str(root))


def test_entities_become_keys(tmp_path):
    source = make(
        tmp_path / "My-Study",
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_run-1_FLAIR.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_run-2_FLAIR.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_T2starw.nii.gz",
    )
    listing = plan(source)
    scans = listing.scans
    assert list(scans["scan_id"]) == [
        "MyStudy/sub-01_T1Gd",
        "MyStudy/sub-01_T1w",
        "MyStudy/sub-02_ses-a_FLAIR",
        "MyStudy/sub-02_ses-a_run-2_FLAIR",
    ]
    assert list(scans["person"].unique()) == ["MyStudy/01", "MyStudy/02"]
    rejected = [found.reason for found in listing.findings if found.outcome == "rejected"]
    assert rejected == ["suffix T2starw is not used"]


def test_suffixes_are_those_of_the_standard_and_cost_nothing_where_all_are_used(tmp_path):
    assert SUFFIXES.keys() <= anatomical_suffixes()
    # From the standard's text (1.10), so that a change of the schema's shape is seen.
    assert set("PDw T2starw UNIT1 MP2RAGE T1map defacemask MEGRE VFA".split()) <= (
        anatomical_suffixes()
    )
    assert not {"T9w", "bold", "dwi"} & anatomical_suffixes()
    make(tmp_path / "A", "sub-1/anat/sub-1_T1w.nii.gz")
    code = (
        "import sys\n"
        "from wfdm.config.cohort import BidsSource\n"
        "from wfdm.data.sources.bids import plan\n"
        f"plan(BidsSource(kind='bids', path={str(tmp_path / 'A')!r}))\n"
        "assert 'bidsschematools' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_participants_are_normalised(tmp_path):
    source = make(tmp_path / "A", "sub-01/anat/sub-01_T1w.nii.gz")
    (tmp_path / "A/participants.tsv").write_text(
        "participant_id\tAge\tgender\thandedness\nsub-01\t31\tF\tn/a\n"
    )
    row = plan(source).scans.iloc[0]
    assert (row["age"], row["sex"], row["handedness"]) == ("31", "female", "")


def test_a_folder_of_datasets(tmp_path):
    make(tmp_path, "one/sub-1/anat/sub-1_T1w.nii", "two/sub-1/anat/sub-1_T1w.nii")
    scans = plan(BidsSource(kind="bids", path=str(tmp_path))).scans
    assert sorted(scans["dataset"]) == ["one", "two"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["sub-1/anat/sub-1_T9w.nii.gz"], "unknown modality 'T9w'"),
        (["sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_T1w.nii"], "duplicate scan_id"),
        (["readme"], "no sub-"),
    ],
)
def test_mistakes_are_named(tmp_path, names, message):
    with pytest.raises(UserError, match=message) as caught:
        plan(make(tmp_path, *names))
    assert "\n" not in str(caught.value)


def test_missing_folder_says_what_to_place(tmp_path):
    with pytest.raises(UserError, match="place the raw BIDS data"):
        plan(BidsSource(kind="bids", path=str(tmp_path / "nothing")))


def test_two_sources_of_one_name(tmp_path):
    source = make(tmp_path / "A", "sub-1/anat/sub-1_T1w.nii.gz")
    with pytest.raises(UserError, match="duplicate scan_id: A/sub-1_T1w"):
        build([source, source], 1, True, "raw", [])


def test_listing_notices_new_data(tmp_path):
    source = make(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz")
    before = files_digest(source)
    assert files_digest(source) == before
    image = tmp_path / "sub-1/anat/sub-1_T1w.nii.gz"
    image.write_bytes(b"another")
    assert files_digest(source) == before, "an image concerns its session alone"
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\tage\nsub-1\t50\n")
    assert (told := files_digest(source)) != before
    table.write_text("participant_id\tage\nsub-1\t501\n")
    assert files_digest(source) != told
    table.unlink()
    make(tmp_path, "sub-2/anat/sub-2_T1w.nii.gz")
    assert files_digest(source) != before


def scan_row(**changes) -> pd.DataFrame:
    row = dict.fromkeys(columns(), "") | {
        "scan_id": "A/sub-1_T1w",
        "dataset": "A",
        "person": "A/1",
        "subject": "1",
        "group": "0",
        "modality": "T1w",
        "path": "raw/x.nii.gz",
        "state": "raw",
    }
    return pd.DataFrame([row | changes])


def test_scan_table_survives_the_disk(tmp_path):
    write_scans(scan_row(age="31"), tmp_path / "scans.tsv")
    pd.testing.assert_frame_equal(read_scans(tmp_path / "scans.tsv"), scan_row(age="31"))


@pytest.mark.parametrize(
    ("scans", "message"),
    [
        (scan_row(modality="PD"), "unknown modality 'PD'"),
        (pd.concat([scan_row(), scan_row()], ignore_index=True), "'A/sub-1_T1w' is in more"),
        (scan_row(subject="a b"), "subject: row 0: 'a b'"),
        (scan_row(path=""), "path: row 0"),
        (scan_row(state="half"), "state: row 0: 'half'"),
        (scan_row().drop(columns="age"), "age"),
    ],
)
def test_scan_table_refuses(scans, message):
    with pytest.raises(UserError, match=message):
        check_scans(scans, "scans.tsv")


@pytest.mark.skipif(not RAW.is_dir(), reason="the shared real MRI is not on this machine")
def test_real_folder():
    scans = plan(BidsSource(kind="bids", path=str(RAW), dataset="RAW")).scans
    assert scans["modality"].value_counts().to_dict() == {"T1w": 4, "T2w": 4, "FLAIR": 4, "T1Gd": 1}
