"""Whatever lies in a source's folder: each file is a scan of the table or a line of the report."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfdm.config.cohort import BidsSource
from wfdm.data.findings import Listing, report
from wfdm.data.index import build, files_digest
from wfdm.data.sources.bids import plan
from wfdm.data.table import rows_of
from wfdm.errors import UserError, one_line

CASES = Path(__file__).parents[3] / "shared" / "cases"


def make(root: Path, *names: str) -> BidsSource:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return BidsSource(kind="bids", path=str(root))


def told(listing: Listing, outcome: str = "rejected") -> dict[str, str]:
    """Return {file's or folder's name: reason} of the report's lines of one outcome."""
    rows = rows_of(report(listing.findings))
    return {Path(row["path"]).name: row["reason"] for row in rows if row["outcome"] == outcome}


def accounted(root: Path, listing: Listing) -> Counter[str]:
    """Return how often each file below `root` is used or told of, by itself or by its folder."""
    used = list(listing.scans["path"])
    lines = [path for path in report(listing.findings)["path"] if path]
    counts: Counter[str] = Counter()
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            above = [one_line(str(parent)) for parent in (Path(path), *Path(path).parents)]
            counts[path] = used.count(path) + sum(lines.count(each) for each in above)
    return counts


PARTS = st.sampled_from(
    "sub-1 sub-2 sub-a_b sub- ses-1 anat Anat func derivatives .git rawdata siteA x".split()
)
NAMES = st.one_of(
    st.sampled_from(
        "sub-1_T1w.nii.gz sub-1_ses-1_T1w.nii.gz sub-2_T1w.nii.gz sub-1_T1w.json README sub-1 "
        "sub-1_run-2_T1w.nii.gz sub-1_acq-b_T1w.nii.gz sub-1_T2starw.nii.gz sub-1_T1w.mgz "
        "._sub-1_T1w.nii.gz sub-1_T1w.NII.GZ sub-1_T1w.img sub-1_T1w.nii.gz.part "
        "sub-1_desc-preproc_T1w.nii.gz sub-1_desc-brain_mask.nii.gz sub-1_sessions.tsv.bak "
        "sub-1_space-MNI_desc-preproc_T1w.nii.gz".split()
    ),
    st.text("sub-1_T1w.niz é\n\udcff", min_size=1, max_size=12).filter(
        lambda name: name.strip(".") and "\0" not in name
    ),
)
FILES = st.lists(st.tuples(st.lists(PARTS, max_size=4), NAMES), min_size=1, max_size=12)


@settings(max_examples=150)
@given(FILES, st.sampled_from(["raw", "brain", "identity"]))
def test_every_file_is_used_or_told_of_once(files, state):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "LAB"
        make(root, "sub-9/anat/sub-9_T1w.nii.gz")
        for parts, name in files:
            place(root.joinpath(*parts), name)
        source = BidsSource(kind="bids", path=str(root), state=state)
        try:
            listing = plan(source)
        except UserError as error:
            assert "\n" not in one_line(str(error)) and "claim the same scan" in str(error)
            return
        counts = accounted(root, listing)
        assert set(counts.values()) == {1}, {k: v for k, v in counts.items() if v != 1}
        assert listing.scans["scan_id"].is_unique
        assert files_digest(source)


def place(folder: Path, name: str) -> None:
    """Write a file where neither it nor its folder is in the way of what is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    except OSError:
        assert (folder / name).is_dir() or not folder.is_dir()


def test_a_file_agrees_with_its_folder(tmp_path):
    source = make(
        tmp_path / "LAB",
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-03/anat/sub-02_T1w.nii.gz",
        "sub-04/ses-1/anat/sub-04_T1w.nii.gz",
        "sub-05/anat/sub-05_ses-1_T1w.nii.gz",
        "sub-06/ses-1/anat/sub-06_ses-2_T1w.nii.gz",
    )
    listing = plan(source)
    assert listing.scans["subject"].tolist() == ["01"]
    reasons = told(listing)
    assert "says sub-02, but it lies in sub-03" in reasons["sub-02_T1w.nii.gz"]
    assert "says no ses-, but it lies in ses-1" in reasons["sub-04_T1w.nii.gz"]
    assert "says ses-1, but it lies in no ses- folder" in reasons["sub-05_ses-1_T1w.nii.gz"]
    assert "says ses-2, but it lies in ses-1" in reasons["sub-06_ses-2_T1w.nii.gz"]


def test_runs_keep_their_own_numbers(tmp_path):
    names = [f"sub-1/anat/sub-1_run-{run}_T1w.nii.gz" for run in range(1, 13)]
    scans = plan(make(tmp_path / "A", *names)).scans
    assert [Path(path).name.split("_")[1] for path in scans["path"]] == [
        scan_id.split("_")[1] if "run-" in scan_id else "run-1" for scan_id in scans["scan_id"]
    ]
    assert len(scans) == 12
    gap = plan(make(tmp_path / "B", *names[1:3])).scans
    assert gap["scan_id"].tolist() == ["B/sub-1_run-2_T1w", "B/sub-1_run-3_T1w"]


def test_variants_get_numbers_of_their_own_and_stay_together(tmp_path):
    source = make(
        tmp_path / "A",
        *(
            f"sub-1/anat/sub-1_{name}.nii.gz"
            for name in ("acq-b_T1w", "acq-b_FLAIR", "acq-a_T1w", "acq-a_FLAIR", "run-2_T1w")
        ),
    )
    listing = plan(source)
    found = {Path(row["path"]).name: row["scan_id"] for row in rows_of(listing.scans)}
    assert found == {
        "sub-1_acq-a_T1w.nii.gz": "A/sub-1_T1w",
        "sub-1_acq-a_FLAIR.nii.gz": "A/sub-1_FLAIR",
        "sub-1_run-2_T1w.nii.gz": "A/sub-1_run-2_T1w",
        "sub-1_acq-b_T1w.nii.gz": "A/sub-1_run-3_T1w",
        "sub-1_acq-b_FLAIR.nii.gz": "A/sub-1_run-3_FLAIR",
    }
    notes = [each.reason for each in listing.findings if each.outcome == "note"]
    assert sum("is run 3 here" in note for note in notes) == 2


@pytest.mark.parametrize("second", ["run-1_T1w.nii.gz", "run-01_T1w.nii.gz", "T1w.nii"])
def test_two_files_that_claim_one_scan_are_refused(tmp_path, second):
    first = "run-1_T1w.nii.gz" if "01" in second else "T1w.nii.gz"
    names = [f"sub-1/anat/sub-1_{name}" for name in (first, second)]
    with pytest.raises(UserError, match=r"duplicate scan_id: .*claim the same scan"):
        plan(make(tmp_path, *names))


def test_patterns_choose(tmp_path):
    source = make(
        tmp_path / "A",
        *(f"sub-{i}/anat/sub-{i}_{m}.nii.gz" for i in (1, 2, 3) for m in ("T1w", "T2w")),
    )
    chosen = source.model_copy(
        update={"include": ["sub-[12]"], "exclude": ["*_T2w.nii.gz", "sub-77"]}
    )
    listing = plan(chosen)
    assert listing.scans["scan_id"].tolist() == ["A/sub-1_T1w", "A/sub-2_T1w"]
    assert "left out by 'exclude'" in told(listing)["sub-1_T2w.nii.gz"]
    assert "not named by 'include'" in told(listing)["sub-3_T1w.nii.gz"]
    assert any("'sub-77' matches nothing" in each.reason for each in listing.findings)


def test_derivatives_are_a_source_of_brains(tmp_path):
    anat = "sub-1/anat/sub-1_"
    source = make(
        tmp_path / "fmriprep",
        *(f"{anat}{name}.nii.gz" for name in ("desc-preproc_T1w", "desc-brain_mask", "dseg")),
        *(f"{anat}space-MNI_{name}.nii.gz" for name in ("desc-preproc_T1w", "desc-brain_mask")),
        "sub-2/anat/sub-2_desc-preproc_T1w.nii.gz",
    ).model_copy(update={"state": "brain"})
    listing = plan(source)
    assert [Path(p).name for p in listing.scans["path"]] == ["sub-1_desc-preproc_T1w.nii.gz"]
    assert listing.scans["state"].tolist() == ["brain"]
    reasons = told(listing)
    assert "is the same scan, and is used" in reasons["sub-1_space-MNI_desc-preproc_T1w.nii.gz"]
    assert "sub-2_desc-brain_mask.nii.gz is missing" in reasons["sub-2_desc-preproc_T1w.nii.gz"]
    assert "brain mask of a scan" in told(listing, "other")["sub-1_desc-brain_mask.nii.gz"]
    with pytest.raises(UserError, match="with state brain"):
        plan(source.model_copy(update={"state": "raw"}))


def test_derivatives_that_are_called_raw_are_told(tmp_path):
    source = make(tmp_path / "A", "sub-1/anat/sub-1_T1w.nii.gz")
    told = tmp_path / "A" / "dataset_description.json"
    for kind, count in (("raw", 0), ("derivative", 1)):
        told.write_text(f'{{"DatasetType": "{kind}"}}')
        reasons = [each.reason for each in plan(source).findings]
        assert sum("say state brain" in reason for reason in reasons) == count


def test_one_label_for_two_folders_is_refused(tmp_path):
    first = make(tmp_path / "a" / "rawdata", "sub-1/anat/sub-1_T1w.nii.gz")
    second = make(tmp_path / "b" / "rawdata", "sub-1/anat/sub-1_T2w.nii.gz")
    with pytest.raises(UserError, match="both make the dataset label 'rawdata'"):
        build([first, second], 1, True, "raw", [])
    renamed = second.model_copy(update={"dataset": "B"})
    assert build([first, renamed], 1, True, "raw", []).scans["person"].nunique() == 2
    halves = [first.model_copy(update={"include": [f"*{m}*"]}) for m in ("T1w",)]
    assert len(build(halves, 1, True, "raw", []).scans) == 1


# The cases that labs met, each with what is right.
shared = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")


def case(name: str, root: Path, *more: str) -> Path:
    subprocess.run([sys.executable, CASES / f"{name}.py", root, *more], check=True)
    return root


def of(path: Path, **settings) -> Listing:
    return plan(BidsSource(kind="bids", path=str(path), **settings))


@shared
def test_underscore_labels(tmp_path):
    root = case("underscore_labels", tmp_path) / "SITE"
    with pytest.raises(UserError, match=r"no scan is left; most often: its folder 'sub-CON_001'"):
        of(root)


@shared
def test_unseen_files(tmp_path):
    case("unseen_files", tmp_path)
    found = {folder.name: of(folder) for folder in tmp_path.iterdir() if folder.name != "NONE"}
    for name, listing in found.items():
        assert set(accounted(tmp_path / name, listing).values()) == {1}
        assert listing.scans["subject"].tolist() == ["01"]
        assert listing.scans["path"].tolist()[0].endswith(("sub-01_T1w.nii.gz", "_FLAIR.nii.gz"))
    assert told(found["UPPER"]).keys() == {"sub-02_T1w.NII.GZ", "sub-03_T1w.Nii"}
    pair = {"sub-02_T1w.img", "sub-02_T1w.hdr", "sub-03_T1w.mgz"}
    assert told(found["PAIR"]).keys() == pair
    assert len(told(found["NOANAT"])) == 3
    assert told(found["MAC"]) == {"._sub-01_T1w.nii.gz": "a hidden file"}
    assert "sub-02_T1w.nii.gz.part" in told(found["PART"])
    assert (
        "'FLAIR' in its name is no entity" in told(found["ROI"], "other")["sub-01_FLAIR_roi.nii.gz"]
    )
    with pytest.raises(UserError, match=r"no scan is left; most often: lies in sub-01/ses-1/"):
        of(tmp_path / "NONE")


@shared
def test_nested_layouts(tmp_path):
    case("nested_layouts", tmp_path)
    pool, study = of(tmp_path / "pool"), of(tmp_path / "study")
    assert pool.scans["person"].tolist() == ["siteA/01", "siteB/01"]
    assert study.scans["person"].tolist() == ["study/01"]
    for root, listing in {"pool": pool, "study": study}.items():
        assert set(accounted(tmp_path / root, listing).values()) == {1}
        assert "not gone through" in told(listing, "other")["derivatives"]
    for name in ("twins", "twins2"):
        with pytest.raises(UserError, match=r"'my-site' and 'my_site' both make .*'mysite'"):
            of(tmp_path / name)


@shared
def test_runs(tmp_path):
    case("runs", tmp_path)
    twelve = of(tmp_path / "TWELVE").scans
    ids = {Path(row["path"]).name: row["scan_id"] for row in rows_of(twelve)}
    assert ids["sub-01_run-11_T1w.nii.gz"] == "TWELVE/sub-01_run-11_T1w"
    assert len(ids) == 12
    assert of(tmp_path / "GAP").scans["group"].tolist() == ["1", "2"]


@shared
def test_annexed(tmp_path):
    case("annexed", tmp_path)
    listing = of(tmp_path / "ds000000")
    assert listing.scans["subject"].tolist() == ["01"]
    reasons = told(listing)
    assert "leads nowhere" in reasons["sub-02_T1w.nii.gz"]
    assert "is empty" in reasons["sub-03_T1w.nii.gz"]
    with pytest.raises(UserError, match=r"participants\.tsv: cannot be read \(No such file"):
        of(tmp_path / "ds000001")


@shared
def test_linked_folders(tmp_path):
    source = BidsSource(kind="bids", path=str(case("linked_folders", tmp_path) / "virtual"))
    before = files_digest(source)
    assert len(plan(source).scans) == 2
    case("linked_folders", tmp_path, "more")
    assert files_digest(source) != before
    assert len(plan(source).scans) == 3


def test_a_link_to_a_folder_above_is_not_followed(tmp_path):
    source = make(tmp_path / "A", "sub-1/anat/sub-1_T1w.nii.gz")
    (tmp_path / "A/sub-1/anat/again").symlink_to(tmp_path / "A")
    listing = plan(source)
    assert len(listing.scans) == 1
    assert told(listing, "other")["again"] == "a link to a folder above it"


UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@shared
def test_unreadable(tmp_path):
    """Run as a user who may not read everything; as root, with that right given up."""
    case("unreadable", tmp_path)
    tmp_path.chmod(0o755)
    prefix = UNPRIVILEGED if os.getuid() == 0 else []
    code = (
        "import sys\nfrom tests.unit.test_bids_tree import of, told\nfrom pathlib import Path\n"
        "from wfdm.errors import UserError\nroot = Path(sys.argv[1])\n"
        "for name in ('FOLDER', 'SCAN'):\n"
        "    listing = of(root / name)\n"
        "    print(name, *listing.scans['subject'], told(listing))\n"
        "try:\n    of(root / 'LIST')\nexcept UserError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode and prefix:
        pytest.skip(f"no capability can be given up here: {done.stderr[-200:]}")
    folder, scan, table = done.stdout.splitlines()
    assert folder.startswith("FOLDER 01 03 {'sub-02': 'the folder cannot be read (Permission")
    assert scan.startswith("SCAN 01 03 {'sub-02_T1w.nii.gz': 'cannot be read (Permission denied)")
    assert "participants.tsv: cannot be read (Permission denied)" in table
