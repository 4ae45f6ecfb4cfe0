"""The study of open scans, where they lie beside the checkout: index, people, splits."""

from pathlib import Path

import pytest

from wfdm.config import files
from wfdm.config.cohort import BidsSource
from wfdm.data.index import build
from wfdm.data.people import read_aliases
from wfdm.data.split import divide
from wfdm.stages.plan import missing_source, needs_extractor

ROOT = Path(__file__).parents[2]
OPEN = ROOT.parent / "shared" / "data" / "open"
NAMES = ("config", "open", "open-release")
STUDY = files.read_study(ROOT / "config/config.yaml", ROOT / "config/open.yaml")


def test_a_lacking_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = missing_source(STUDY)
    assert told and "No data at ../shared/data/open/ds000011: place the raw scans there" in told


def test_what_is_released_was_never_trained_on_oasis():
    release = files.read_study(*(ROOT / f"config/{name}.yaml" for name in NAMES))
    paths = [source.path for source in release.sources if isinstance(source, BidsSource)]
    assert len(paths) == 4 and not any("oasis" in path for path in paths)
    assert release.results != STUDY.results


def test_whole_heads_alone_need_an_extractor():
    assert needs_extractor(STUDY)
    states = [source.state for source in STUDY.sources if isinstance(source, BidsSource)]
    assert states == ["raw", "brain", "brain", "brain", "raw"]
    assert not needs_extractor(STUDY.model_copy(update={"sources": STUDY.sources[1:4]}))


@pytest.mark.skipif(not OPEN.is_dir(), reason=f"no open scans at {OPEN}")
def test_people_scans_and_splits(monkeypatch):
    monkeypatch.chdir(ROOT)
    aliases = read_aliases(STUDY.people.aliases)
    index = build(STUDY.sources, STUDY.seed, True, "raw", aliases)
    scans = index.scans
    assert (len(scans), scans["person"].nunique()) == (156, 121)
    assert scans["modality"].value_counts().to_dict() == {
        "T1w": 127,
        "T2w": 20,
        "FLAIR": 6,
        "T1Gd": 3,
    }
    assert scans["state"].value_counts().to_dict() == {"raw": 41, "brain": 115}
    assert scans["depression"].value_counts().to_dict() == {"": 84, "yes": 51, "no": 21}
    listed = scans[scans["dataset"] != "raw"]  # which has no list of its people
    assert (listed["age"] != "").all() and (listed["sex"] != "").all()
    assert index.people["person"].nunique() == 5 and len(index.people) == 10
    assert {each.outcome for each in index.findings} == {"note", "other"}
    splits = divide(scans, STUDY.split, STUDY.seed)
    people = splits.drop_duplicates("person")["split"].value_counts().to_dict()
    assert people == {"train": 98, "validation": 12, "test": 11}
