"""The audit of a study that Snakemake made: all is recorded, and no tampering goes unnamed."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from tests.workflow.conftest import LAB
from wfdm.provenance.audit import Audit
from wfdm.provenance.records import record_path
from wfdm.stages import audit, crate

pytestmark = pytest.mark.slow

ROOT = "results/tiny"
TABLE = f"{ROOT}/tables/table4.csv"
VOLUMES = f"{ROOT}/preprocessed/volumes.tsv"


@pytest.fixture
def study(finished, monkeypatch) -> Path:
    """The finished study's folder; the tests stand in it and leave it as it was."""
    monkeypatch.chdir(finished.folder)
    return finished.folder


def problems(path: str | Path) -> list[str]:
    """What an audit finds wrong, a line each."""
    found = Audit(None, audit.wrong_asset)
    return [f"{found.told(each.path)} {each.what}" for each in found.of(Path(path)).problems]


@contextmanager
def restored(path: Path) -> Iterator[None]:
    """Give a file its bytes and times back, whatever is done to it."""
    kept, status = path.read_bytes(), path.stat()
    try:
        yield
    finally:
        path.write_bytes(kept)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def one(pattern: str) -> Path:
    """The first file that a pattern finds in the study."""
    return min(Path().glob(pattern))


def test_every_file_of_a_study_is_recorded(study):
    found = Audit(None, audit.wrong_asset).of(Path(ROOT))
    assert not found.problems and not found.notes
    files = {path for path in Path(ROOT).rglob("*") if path.is_file()}
    left = files - {Path(os.path.relpath(path)) for path in [*found.artefacts, *found.records]}
    assert {path.parts[2] for path in left} == {"logs", "cache", "compressors", "denoisers"}
    assert all({"logs", "cache", "last", "tensorboard"} & set(path.parts) for path in left)


def test_a_table_leads_to_atlas_and_scans_in_every_spelling(study, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(study)
    counts = set()
    for folder, path in (
        (study, TABLE),
        (study / ROOT / "tables", "./table4.csv"),
        (tmp_path, f"link/{TABLE}"),
        (Path("/"), str(study / TABLE)),
    ):
        monkeypatch.chdir(folder)
        found = Audit(None, audit.wrong_asset).of(Path(path))
        assert not found.problems
        names = {Path(source).name for source in found.sources}
        assert {f"sub-{LAB[0]}_T1w.nii.gz", "sri24-head.nii", "table4.csv"} <= names
        counts.add((len(found.artefacts), len(found.sources)))
    assert len(counts) == 1


@pytest.mark.parametrize(
    "pattern", ["evaluation/mean_volumes.safetensors", "samples/wfdm/**/*.nii.gz", "data/leaks.tsv"]
)
def test_what_is_audited_by_itself_is_no_source(study, pattern):
    path = one(f"{ROOT}/{pattern}")
    found = Audit().of(path)
    assert not found.problems and str(path.resolve()) in found.artefacts


DRILL = {  # what is changed by a byte: where it lies, and the smallest thing to audit
    "checkpoint": ("compressors/wf-sa-vae/model.safetensors", "latents/wf-sa-vae/index.tsv"),
    "latent": ("latents/wf-sa-vae/shard-*.npy", "latents/wf-sa-vae/scale.json"),
    "sample": ("samples/wfdm/**/*.nii.gz", "samples/wfdm/samples.tsv"),
    "sidecar": ("samples/wfdm/**/sub-*.json", "samples/wfdm/samples.tsv"),
    "mask": ("preprocessed/**/*_mask.nii.gz", "preprocessed/volumes.tsv"),
    "transform": ("preprocessed/**/*_xfm.mat", "preprocessed/volumes.tsv"),
    "picture": ("preprocessed/**/*_qc.png", "preprocessed/volumes.tsv"),
    "phantom": ("raw/**/*_T1w.nii.gz", "preprocessed/volumes.tsv"),
    "table": ("tables/table4.csv", "tables/table4.csv"),
}


@pytest.mark.parametrize(("pattern", "asked"), DRILL.values(), ids=DRILL)
def test_a_changed_byte_is_named(study, pattern, asked):
    path = one(f"{ROOT}/{pattern}")
    with restored(path):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        (told,) = problems(f"{ROOT}/{asked}")
    assert told.startswith(f"{path} has sha256 ")


def test_a_swapped_raw_scan_is_named(study):
    mine, other = (Path(f"data/LAB/sub-{name}/anat/sub-{name}_T1w.nii.gz") for name in LAB)
    with restored(mine):
        mine.write_bytes(other.read_bytes())
        (told,) = problems(VOLUMES)
    assert told.startswith(f"{mine} has sha256 ")


@pytest.mark.parametrize("pattern", ["evaluation/mean_volumes.*.json", "raw/**/sub-*.prov.json"])
def test_a_deleted_record_is_an_error(study, pattern):
    record = one(f"{ROOT}/{pattern}")
    made = json.loads(record.read_text())["outputs"]
    with restored(record):
        record.unlink()
        for path in made:
            (told,) = problems(path)
            assert told.startswith(f"{path} ") and "no record lists it" in told


@pytest.mark.parametrize("kept", [0, 400])
def test_a_cut_record_is_one_line(study, kept):
    record = record_path(VOLUMES)
    with restored(record):
        record.write_bytes(record.read_bytes()[:kept])
        told = problems(TABLE)
    assert len([line for line in told if line.startswith(f"{record} is cut")]) == 1


@pytest.mark.parametrize("key", ["seed", "code", "started", "sha256"])
def test_an_edited_record_is_named(study, key):
    record = record_path(VOLUMES)
    with restored(record):
        content = json.loads(record.read_text())
        if key == "sha256":
            content["outputs"] = dict.fromkeys(content["outputs"], "0" * 64)
        else:
            content[key] = f"{content[key]}1"
        record.write_text(json.dumps(content, indent=1) + "\n")
        told = problems(VOLUMES)
    assert f"{record} was edited" in " ".join(told)


def test_the_command_names_it_in_one_line(finished):
    table = Path(finished.results / "tables/table4.csv")
    assert finished.wfdm("audit", table.relative_to(finished.folder)) == (0, "")
    with restored(table):
        table.write_text(table.read_text().replace("WFDM", "MDFW", 1))
        code, told = finished.wfdm("audit", "--json", table.relative_to(finished.folder))
    assert code == 1 and told.startswith(f"wfdm: audit: {TABLE} has sha256 ")
    assert len(told.splitlines()) == 1


def test_a_crate_of_the_study_can_be_read(study, tmp_path):
    crate.run(Path(ROOT), tmp_path / "crate")
    read = ROCrate(tmp_path / "crate")
    actions = read.get_by_type("CreateAction")
    assert len(actions) == len(list(Path(ROOT).rglob("*.prov.json"))) + 1
    held = [path for path in (tmp_path / "crate").rglob("*") if path.is_file()]
    assert {path.name for path in held} >= {"table4.csv", "figure3.pdf", "study.yaml", "Snakefile"}
    assert not [path for path in held if path.suffix in (".gz", ".npy", ".safetensors")]
    shutil.rmtree(tmp_path / "crate")
