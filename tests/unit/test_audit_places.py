"""The audit finds files wherever a study lies, and whatever it is called."""

import shutil
from pathlib import Path

import pytest

from tests.unit import small_study as small
from tests.unit.audited import OF_TABLE, edit, problems
from wfdm.errors import UserError
from wfdm.provenance.audit import Audit
from wfdm.provenance.records import record_path
from wfdm.provenance.roots import mark

TABLE = Path(small.TABLE)
ROOT = Path(small.ROOT)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A small study; the tests stand in its checkout."""
    return small.stand_in_it(tmp_path, monkeypatch)


def spellings(study: Path) -> dict[str, tuple[Path, Path]]:
    """The table under several names: the folder to stand in, the path to give."""
    (study / "link.csv").symlink_to(TABLE)
    (study.parent / "there").symlink_to(study)
    return {
        "absolute": (study.parent, study / TABLE),
        "dot": (study, Path("./results/../results/small/./tables/table4.csv")),
        "from inside": (study / "results/small/tables", Path("table4.csv")),
        "from elsewhere": (study / "lab", Path("..") / TABLE),
        "through a link to the file": (study, Path("link.csv")),
        "through a link to the checkout": (study.parent, Path("there") / TABLE),
    }


def test_every_spelling_verifies_the_same(study, monkeypatch):
    for name, (folder, path) in spellings(study).items():
        monkeypatch.chdir(folder)
        found = Audit().of(path)
        assert not found.problems, name
        assert (len(found.artefacts), len(found.sources)) == (OF_TABLE, 4), name


def moved_aside(study: Path, part: str) -> None:
    """Move a folder to another disk, so to say, and leave a link."""
    target = study.parent / "disk" / part
    target.parent.mkdir(parents=True)
    (study / part).rename(target)
    (study / part).symlink_to(target)


@pytest.mark.parametrize("part", ["results", "results/small", "results/small/raw"])
def test_results_may_lie_behind_a_link(study, part):
    moved_aside(study, part)
    assert len(Audit().of(TABLE).artefacts) == OF_TABLE
    assert not problems(TABLE) and not problems(ROOT)
    Path(small.RAW).with_name("sub-1_desc-raw.prov.json").unlink()
    assert [line for line in problems(TABLE) if "sub-1_T1w" in line and "no record" in line]


def test_a_moved_or_copied_checkout_is_audited_where_it_lies(study, monkeypatch):
    copy = study.with_name("copy")
    shutil.copytree(study, copy)
    (study / small.MODEL).write_text("changed in the old place")
    found = Audit().of(copy / TABLE)
    assert not found.problems and len(found.artefacts) == OF_TABLE
    assert all(path.startswith(f"{copy}/") for path in found.artefacts)


def test_a_step_by_hand_in_another_folder_is_found(study, monkeypatch):
    monkeypatch.chdir(study / "results/small/compressors")
    small.step("import-checkpoint", "", ["own/model.safetensors"], ["../../../lab/atlas.nii"])
    found = Audit().of(Path("own/model.safetensors"))
    assert not found.problems
    assert (len(found.artefacts), len(found.sources)) == (1, 1)


def test_an_artefact_of_another_study_is_followed_too(study):
    begun = "results/small/compressors/own/model.safetensors"
    other = "results/small/other"  # a study in the folder of this one, as results/demo
    small.step("train-compressor", "", [f"{other}/model.safetensors"], ["lab/atlas.nii"])
    mark(Path(other), "study: other\n", {})
    small.step("train-compressor", "", [begun], [f"{other}/model.safetensors"])
    found = Audit().of(Path(begun))
    assert not found.problems and len(found.artefacts) == 2
    assert len(Audit().of(ROOT).artefacts) == small.ARTEFACTS + 3
    record_path(f"{other}/model.safetensors").unlink()
    (told,) = problems(Path(begun))
    assert "other/model.safetensors" in told and "no record lists it" in told


def test_without_a_root_nothing_is_verified(study):
    record_path(ROOT / "study.yaml").unlink()
    with pytest.raises(UserError, match=r"lies in no results root .* --root"):
        Audit().of(TABLE)
    assert len(Audit(ROOT).of(TABLE).artefacts) == OF_TABLE
    with pytest.raises(UserError, match=r"none\.csv is missing"):
        Audit().of(ROOT / "none.csv")


def test_a_configuration_called_study_makes_no_root(study):
    Path("study.yaml").write_text("study: mine\n")
    assert not problems(TABLE)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"outputs": 1', '{"outputs": {}, "results": {}}']
)
def test_a_root_whose_record_is_cut_is_one_line(study, text):
    record_path(ROOT / "study.yaml").write_text(text)
    with pytest.raises(UserError, match=r"study\.yaml\.prov\.json.* cut") as told:
        Audit().of(TABLE)
    assert "\n" not in str(told.value)


def test_the_marker_is_written_once_and_again_after_a_change(study):
    marker = ROOT / "study.yaml"
    before = record_path(marker).stat().st_mtime_ns, marker.stat().st_mtime_ns
    mark(ROOT, "study: small\n", {"study": "small"})
    assert (record_path(marker).stat().st_mtime_ns, marker.stat().st_mtime_ns) == before
    mark(ROOT, "study: other\n", {"study": "other"})
    assert marker.read_text() == "study: other\n" and not problems(ROOT)
    edit(record_path(marker), "other", "small")
    mark(ROOT, "study: other\n", {"study": "other"})
    assert not problems(ROOT)
