"""BrainScape checkouts and exports in, scan table out; every record used or rejected by name."""

import json
from pathlib import Path

import pytest

from wfdm.config.cohort import BrainScapeSource
from wfdm.data.findings import report
from wfdm.data.index import files_digest
from wfdm.data.sources.brainscape import plan
from wfdm.errors import UserError


def entry(subject="sub-1", **changes) -> dict:
    folder = f"{subject}..anat.0"
    made = {"t1w": f"{folder}/norm_bet/{subject}_norm_bet_t1w.nii.gz"}
    base = {"subject": subject, "session": "", "type": "anat", "group": 0, "preprocessed": made}
    return base | {"demographics": {}} | changes


def checkout(root: Path, record: dict, touch: bool = True) -> BrainScapeSource:
    """Write dataset.json and the volumes it names."""
    inner = root / "BrainScape"
    inner.mkdir(parents=True)
    (inner / "dataset.json").write_text(json.dumps(record))
    for dataset, entries in record.items():
        for each in entries:
            for kind, folder in (("preprocessed", "preprocessed"), ("download", "Download")):
                for path in (each.get(kind) or {}).values():
                    target = inner / dataset / folder / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    if touch:
                        target.write_bytes(b"x")
    return BrainScapeSource(kind="brainscape", path=str(root))


def rejected(found) -> list[tuple[str, str, str]]:
    return [(f.subject, f.modality, f.reason) for f in found.findings if f.outcome == "rejected"]


def test_entries_become_rows(tmp_path):
    made = {
        "t1w": "s/norm_bet/a_norm_bet_t1w.nii.gz",
        "t1ce": "s/norm_bet/a_raw_skull_t1ce.nii.gz",
        "t2w": "s/a-t2_t2w.nii.gz",
        "seg": "s/a-seg_seg.nii.gz",
    }
    source = checkout(tmp_path, {"ABC": [entry("sub-x_1", session="ses-a", preprocessed=made)]})
    found = plan(source)
    keys = ["scan_id", "person", "session", "modality", "state"]
    assert found.scans[keys].to_numpy().tolist() == [
        ["ABC/sub-x+1_ses-a_T1Gd", "ABC/x+1", "a", "T1Gd", "skull"],
        ["ABC/sub-x+1_ses-a_T1w", "ABC/x+1", "a", "T1w", "preprocessed"],
        ["ABC/sub-x+1_ses-a_T2w", "ABC/x+1", "a", "T2w", "identity"],
    ]
    assert all(Path(path).is_file() for path in found.scans["path"])
    assert rejected(found) == [("sub-x_1", "seg", "a label map, not a scan")]


def test_types_and_groups_of_one_session_become_runs(tmp_path):
    def scan(kind, group):
        made = {"t1w": f"{kind}{group}/a_norm_bet_t1w.nii.gz"}
        return entry(type=kind, group=group, preprocessed=made)

    source = checkout(tmp_path, {"A": [scan("anat", 0), scan("anat", 1), scan("more", 0)]})
    assert list(plan(source).scans["scan_id"]) == [
        "A/sub-1_T1w",
        "A/sub-1_run-2_T1w",
        "A/sub-1_run-3_T1w",
    ]


def test_every_reason_to_reject(tmp_path):
    source = checkout(
        tmp_path,
        {
            "A": [
                entry(),
                entry(),  # twice
                entry("sub-bad7"),
                entry("sub-2", preprocessed={"pd": "2/a_norm_bet_pd.nii.gz"}),
                entry("sub-3", preprocessed={}, mris={"t1w": "3.nii.gz"}),
                entry("sub-4", preprocessed={"t1w": "4/other.nii.gz"}),
                entry("sub-5", preprocessed={}),
                entry("", preprocessed={}),
                entry("sub-6"),
                entry("sub-7"),
            ],
            "B": [entry()],
            "C": [entry()],
            "D": [entry()],
        },
    )
    inner = tmp_path / "BrainScape"
    (inner / "A/preprocessed" / entry("sub-6")["preprocessed"]["t1w"]).unlink()
    (inner / "A/preprocessed" / entry("sub-7")["preprocessed"]["t1w"]).write_bytes(b"")
    (inner / "A/metadata.json").write_text('{"mapping": {"excludeSub": ["sub-bad*"]}}')
    (inner / "B/metadata.json").write_text('{"includeDataset": false}')
    (tmp_path / "config").mkdir()
    (tmp_path / "config/index.json").write_text('{"exclude": ["C"]}')
    found = plan(source.model_copy(update={"exclude": ["D", "E"]}))
    notes = [(note.dataset, note.reason) for note in found.findings if note.outcome == "note"]
    assert notes == [("E", "'exclude' names it, but it is not here")]
    assert list(found.scans["scan_id"]) == ["A/sub-1_T1w"]
    reasons = {(subject, reason.split(":")[0]) for subject, _, reason in rejected(found)}
    assert reasons == {
        ("sub-1", f"its key is that of {found.scans['path'][0]}"),
        ("sub-bad7", "excluded by mapping.excludeSub of the dataset's metadata.json"),
        ("sub-2", "unknown modality 'pd'"),
        ("sub-3", "lists no preprocessed file"),
        ("sub-4", "its name is of no known preprocessing"),
        ("sub-5", "lists no scan"),
        ("", "no subject is named"),
        ("sub-6", "the file is missing"),
        ("sub-7", "the file is empty"),
        ("sub-1", "includeDataset is false in the dataset's metadata.json"),
        ("sub-1", "excluded by config/index.json"),
        ("sub-1", "dataset left out by 'exclude' in the configuration"),
    }
    assert len(report(found.findings)) == len(reasons) + len(notes)


def test_include_wins_over_exclude(tmp_path):
    source = checkout(tmp_path, {"A": [entry()], "B": [entry()]})
    (tmp_path / "config").mkdir()
    index = tmp_path / "config" / "index.json"
    index.write_text('{"include": ["A"], "exclude": ["A"]}')
    assert set(plan(source).scans["dataset"]) == {"A"}
    index.write_text('{"include": [], "exclude": []}')
    with pytest.raises(UserError, match=r"no scan is left; most often: not included by config/"):
        plan(source)


def test_raw_downloads(tmp_path):
    brats = {"t1w": "training-1-t1n.nii.gz"}
    record = {
        "A": [entry(download={"t1w": "sub-1/anat/a_T1w.nii.gz"})],
        "BRATS": [entry("training-1", download=brats, preprocessed={"t1w": "x/t1n_t1w.nii.gz"})],
    }
    source = checkout(tmp_path, record).model_copy(update={"images": "raw"})
    scans = plan(source).scans
    assert list(scans["state"]) == ["raw", "identity"]
    assert scans["path"][0].endswith("BrainScape/A/Download/sub-1/anat/a_T1w.nii.gz")


def test_an_export(tmp_path):
    made = entry()["preprocessed"]["t1w"]
    content = {"train": [entry() | {"dataset": "A"}], "val": [], "test": []}
    (tmp_path / "A/preprocessed" / made).parent.mkdir(parents=True)
    (tmp_path / "A/preprocessed" / made).write_bytes(b"x")
    (tmp_path / "split.json").write_text(json.dumps(content))
    source = BrainScapeSource(kind="brainscape", path=str(tmp_path / "split.json"))
    assert list(plan(source).scans["scan_id"]) == ["A/sub-1_T1w"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "neither a dataset.json"),
        ('{"A": {}}', "neither a dataset.json"),
        ('{"A": [3]}', "an entry is of type int, not a mapping"),
        ('{"A": [{"subject": "s", "preprocessed": ["x"]}]}', "s: 'preprocessed' is not a mapping"),
        ('{"A": [{"subject": "s", "group": "b"}]}', "A/s: group is 'b', not a number"),
    ],
)
def test_broken_records_are_named(tmp_path, text, message):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        plan(BrainScapeSource(kind="brainscape", path=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_no_checkout(tmp_path):
    source = BrainScapeSource(kind="brainscape", path=str(tmp_path / "none"))
    with pytest.raises(UserError, match="no BrainScape at"):
        plan(source)
    assert files_digest(source)  # planning goes on, to say what to place where


def people(root: Path, text: str, dataset: str = "A") -> None:
    folder = root / "demographics" / dataset
    folder.mkdir(parents=True)
    (folder / "participants.tsv").write_bytes(text.encode("utf-8-sig"))


def test_participants_in_any_spelling(tmp_path):
    source = checkout(tmp_path, {"A": [entry(), entry("sub-2"), entry("sub-3")]})
    people(
        tmp_path,
        "ID\tGender\tAge\tbmi\tHandedness\r\n1\t0\t31\t0\tRIGHT\r\n1\tMan\t32\t22\tAmbi\r\n"
        "sub-2\tU\tn/a\t115.6\t\r\n",
    )
    found = plan(source)
    fields = found.scans[["sex", "age", "BMI", "handedness"]].to_numpy().tolist()
    assert fields == [["male", "32", "22", "A"], ["", "", "", ""], ["", "", "", ""]]
    notes = [(f.subject, f.reason) for f in found.findings]
    assert notes == [
        ("1", "BMI is outside 8 to 80: taken as not recorded"),
        ("1", "participants.tsv lists this participant again; the last row counts"),
        ("2", "BMI is outside 8 to 80: taken as not recorded"),
    ]


def test_participants_by_session(tmp_path):
    source = checkout(tmp_path, {"A": [entry(session=f"ses-{i}") for i in (1, 2)]})
    people(tmp_path, "participant_id\tsession\tage\nsub-1\tses-1\t31\nsub-1\tses-2\t33\n")
    assert list(plan(source).scans["age"]) == ["31", "33"]


def test_demographics_of_the_entry(tmp_path):
    known = {"participant_id": "sub-1", "age": "46", "sex": "M", "site": "x", "BMI": ""}
    scans = plan(checkout(tmp_path, {"A": [entry(demographics=known)]})).scans
    assert scans.loc[0, ["age", "sex", "BMI"]].tolist() == ["46", "male", ""]


@pytest.mark.parametrize("listed", [True, False])
def test_unknown_spelling_names_dataset_subject_and_field_but_no_value(tmp_path, listed):
    source = checkout(tmp_path, {"A": [entry(demographics={"sex": "Q"})]})
    if listed:
        people(tmp_path, "participant_id\tsex\nsub-1\tQ\n")
    message = "A/sub-1: sex is in no known spelling; known are other, female, male"
    with pytest.raises(UserError, match=message) as told:
        plan(source)
    assert "Q" not in str(told.value).partition("known are")[0].replace(str(tmp_path), "")


def test_a_list_that_names_folder_and_person(tmp_path):
    source = checkout(tmp_path, {"A": [entry("sub-1"), entry("sub-2")]})
    people(tmp_path, "MR_ID\tID\tage\nsub-1\tP9\t30\nsub-2\tP9\t30\n")
    assert set(plan(source).scans["person"]) == {"A/P9"}
