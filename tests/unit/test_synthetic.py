"""Synthetic scans are refused by what they say of themselves, unless a source asks for them."""

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.unit.test_brainscape import checkout, entry
from wfdm.config.cohort import BidsSource, BrainScapeSource
from wfdm.config.study import Study
from wfdm.data.bids_dataset import describe
from wfdm.data.sources import bids, brainscape
from wfdm.data.synthetic import refusal
from wfdm.errors import UserError
from wfdm.generators.protocol import Request, Sample
from wfdm.generators.write import sidecar, write_sample
from wfdm.tables.differences import differences, note


def make(path: Path) -> Path:
    """Write a volume as a generator's, with its sidecar."""
    request = Request("ALPHA/sub-1_T1w", "T1w")
    sample = Sample(request, np.random.default_rng(0).random((4, 4, 4), np.float32), np.eye(4))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sample(path, sample, json.dumps(sidecar(request, {}, "code")))
    return path


def scan(path: Path) -> Path:
    """Write a volume that says nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three people: one scanned; one made, with its sidecar; and that one's copy without it."""
    folder = tmp_path / "LAB"
    scan(folder / "sub-1/anat/sub-1_T1w.nii.gz")
    made = make(folder / "sub-2/anat/sub-2_T1w.nii.gz")
    copy = folder / "sub-3/anat/sub-3_T1w.nii.gz"
    copy.parent.mkdir(parents=True)
    shutil.copy(made, copy)
    return folder


def test_what_says_that_it_is_synthetic_is_reported_and_left_out(root):
    listing = bids.plan(BidsSource(kind="bids", path=str(root)))
    assert list(listing.scans["subject"]) == ["1"]
    told = {each.subject: each.reason for each in listing.findings if each.outcome == "rejected"}
    assert told == {
        "2": "sub-2_T1w.json says that it is synthetic: leave it out, or say 'synthetic: true' in "
        "its source",
        "3": "the description in its header says that it is synthetic: leave it out, or say "
        "'synthetic: true' in its source",
    }


def test_it_is_taken_where_the_source_says_so_and_every_note_tells(root):
    source = BidsSource(kind="bids", path=str(root), synthetic=True)
    assert list(bids.plan(source).scans["subject"]) == ["1", "2", "3"]
    told = note(differences(Study(sources=[source])))
    assert told == "sources bids with synthetic scans, not brainscape"
    paper = Study().sources[0].model_copy(update={"synthetic": True})
    assert note(differences(Study(sources=[paper]))) == "sources: 0.synthetic true, not false"


def test_a_dataset_that_a_generator_wrote_is_refused_whole(root):
    """Where all else was lost, as in a header that another program wrote."""
    scan(root / "sub-2/anat/sub-2_T1w.nii.gz")
    (root / "sub-2/anat/sub-2_T1w.json").unlink()
    describe(root.parent, [root / "sub-1/anat/sub-1_T1w.nii.gz"], "made", synthetic=True)
    with pytest.raises(UserError, match=r"no scan is left; most often: .*json says synthetic"):
        bids.plan(BidsSource(kind="bids", path=str(root)))
    assert len(bids.plan(BidsSource(kind="bids", path=str(root), synthetic=True)).scans) == 3


def test_brainscapes_records_are_asked_too(tmp_path):
    source = checkout(tmp_path, {"ABC": [entry(), entry("sub-2")]})
    folder = tmp_path / "BrainScape/ABC/preprocessed"
    make(next(folder.rglob("sub-2_norm*.nii.gz")))
    listing = brainscape.plan(source)
    assert list(listing.scans["subject"]) == ["1"]
    (finding,) = (each for each in listing.findings if each.outcome == "rejected")
    assert finding.subject == "sub-2" and "says that it is synthetic" in finding.reason
    asked = BrainScapeSource(kind="brainscape", path=str(tmp_path), synthetic=True)
    assert len(brainscape.plan(asked).scans) == 2


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_description_is_found_in_every_kind_of_header(tmp_path, kind, name, order):
    image = kind(np.zeros((2, 2, 2), np.float32), np.eye(4))
    for text, found in ((b"synthetic: by another tool", True), (b"not SYNTHETIC", False)):
        header = image.header.as_byteswapped(order)
        header["descrip"] = text
        content = header.binaryblock + bytes(36)
        packed = gzip.compress(content) if name.endswith(".gz") else content
        (tmp_path / name).write_bytes(packed)
        assert bool(refusal(tmp_path / name)) is found


# Named, for the time of day stands in what gzip packs, and the workers must collect one list.
@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"\x1f\x8b\x08cut", gzip.compress(b"short")],
    ids=["empty", "letter", "cut", "short"],
)
def test_a_broken_file_marks_nothing(tmp_path, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    (tmp_path / "a.json").write_text("[1, 2")
    assert refusal(path) == ""
