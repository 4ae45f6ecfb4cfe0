"""Records, fingerprints and the audit."""

import json
import subprocess

import pytest

from wfdm.config.data import SplitSettings
from wfdm.config.stages import SplitStage
from wfdm.errors import UserError
from wfdm.provenance import fingerprints
from wfdm.provenance.audit import Audit
from wfdm.provenance.records import read, record_path, recorded, sha256_of

STAGE = SplitStage(seed=42, split=SplitSettings(), statistics="training")


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """raw.txt -> middle.txt -> end.txt, with records."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw.txt").write_text("raw")
    for source, made in (("raw.txt", "middle.txt"), ("middle.txt", "end.txt")):
        with recorded("split", tmp_path / made, STAGE, [tmp_path / source]):
            (tmp_path / made).write_text(f"from {source}")
    return tmp_path


def test_sha256_is_the_systems(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    expected = subprocess.check_output(["sha256sum", tmp_path / "x"], text=True).split()[0]
    assert sha256_of(tmp_path / "x") == expected


def test_record_tells_what_when_and_from_what(chain):
    record = read(record_path(chain / "end.txt"))
    assert record["inputs"] == {str(chain / "middle.txt"): sha256_of(chain / "middle.txt")}
    assert record["settings"] == STAGE.model_dump(mode="json")
    assert record["seed"] == 42
    assert record["code"] == fingerprints.fingerprint("split")
    assert record["environment"]["torch"].startswith("2.")
    assert len(record["environment"]["lock"]) == 64


def test_no_record_of_a_failure(tmp_path):
    with pytest.raises(RuntimeError), recorded("split", tmp_path / "x", STAGE, []):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_audit_walks_to_the_sources(chain):
    audit = Audit()
    lines = list(audit.lines(chain / "end.txt"))
    assert [line.split()[0].rsplit("/", 1)[1] for line in lines] == [
        "end.txt",
        "middle.txt",
        "raw.txt",
    ]
    assert (audit.artefacts, audit.sources) == (2, 1)


@pytest.mark.parametrize("name", ["raw.txt", "middle.txt", "end.txt"])
def test_audit_names_what_was_changed(chain, name):
    (chain / name).write_text("changed")
    with pytest.raises(UserError, match=name):
        list(Audit().lines(chain / "end.txt"))


def test_audit_names_what_is_missing(chain):
    (chain / "raw.txt").unlink()
    with pytest.raises(UserError, match=r"raw\.txt is missing"):
        list(Audit().lines(chain / "end.txt"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package `wfdm` in which `a` imports `b`, and `c` stands alone."""
    folder = tmp_path / "wfdm"
    folder.mkdir()
    (folder / "a.py").write_text("from wfdm.b import f\n\ndef g():\n    return f()\n")
    (folder / "b.py").write_text('def f():\n    """Say one."""\n    return 1\n')
    (folder / "c.py").write_text("x = 1\n")
    monkeypatch.setattr(fingerprints, "SOURCE", tmp_path)
    monkeypatch.setattr(fingerprints, "ENTRIES", {"a": "wfdm.a"})
    fingerprints._parsed.cache_clear()
    yield folder
    fingerprints._parsed.cache_clear()


def fresh(*implementations: str) -> str:
    fingerprints._parsed.cache_clear()
    return fingerprints.fingerprint("a", *implementations)


def test_comments_docstrings_and_strangers_change_nothing(package):
    before = fresh()
    (package / "b.py").write_text('# why\ndef f():\n    """Say 1, once."""\n    return (1)\n')
    (package / "c.py").write_text("x = 2\n")
    assert fresh() == before


def test_code_of_an_imported_module_counts(package):
    before = fresh()
    (package / "b.py").write_text("def f():\n    return 2\n")
    assert fresh() != before


def test_an_architecture_counts_only_where_it_is_used(package, tmp_path, monkeypatch):
    (package / "d.py").write_text("class D: ...\n")
    lab = tmp_path / "elsewhere"
    (lab / "lab").mkdir(parents=True)
    (lab / "lab" / "__init__.py").write_text("")
    (lab / "lab" / "mine.py").write_text("from lab.parts import size\n")
    (lab / "lab" / "parts.py").write_text("size = 1\n")
    monkeypatch.syspath_prepend(lab)
    plain, with_d, with_lab = fresh(), fresh("wfdm.d:D"), fresh("lab.mine:Mine")
    assert len({plain, with_d, with_lab}) == 3
    (package / "d.py").write_text("class D: x = 1\n")
    assert fresh() == plain and fresh("wfdm.d:D") != with_d
    (lab / "lab" / "parts.py").write_text("size = 2\n")
    assert fresh() == plain and fresh("lab.mine:Mine") != with_lab
    with pytest.raises(UserError, match=r"module 'lab\.none' cannot be found"):
        fresh("lab.none:X")


def test_every_stage_has_a_fingerprint_of_its_own_modules():
    closures = {
        stage: fingerprints._closure(entry) for stage, entry in fingerprints.ENTRIES.items()
    }
    assert not any("evaluation" in name for name in closures["train-compressor"])
    assert not any("training" in name for name in closures["preprocess"])
    assert json.dumps(sorted(closures["split"])).count("wfdm.data") >= 3
    with pytest.raises(UserError, match="no stage 'nope'"):
        fingerprints.fingerprint("nope")
