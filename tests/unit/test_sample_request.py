"""`wfdm sample`: what a person asks for is made, named and labelled, or refused."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.unit.stage_b import cohort, encode_all, train
from wfdm.config.generators import DiffusionSettings
from wfdm.data.paths import sidecar_path
from wfdm.errors import UserError
from wfdm.provenance.digests import digests
from wfdm.provenance.records import read, record_path
from wfdm.stages import sample

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("made")
    scans = cohort()
    return train(encode_all(made, scans), made / "denoisers" / "tiny", scans)


def ask(checkpoint: Path, out: Path, **asked) -> list[Path]:
    sample.run(**{"checkpoint": checkpoint, "modality": "T1w", "out": out, "steps": 2} | asked)
    return sorted(out.glob("*.nii.gz"))


def volume(path: Path) -> np.ndarray:
    return nib.load(path).get_fdata()


def test_the_defaults_are_the_study_s():
    given = inspect.signature(sample.run).parameters
    for name in ("sampler", "steps", "eta", "guidance", "batch"):
        assert given[name].default == DiffusionSettings.model_fields[name].default


def test_what_is_asked_for_is_made_and_labelled(checkpoint, tmp_path, capsys):
    paths = ask(checkpoint, tmp_path, modality="FLAIR", n=3, age=60.0, sex="F", field=["tumor=no"])
    assert [path.name for path in paths] == [
        f"sub-synthetic{i:04d}_space-SRI24_desc-synthetic_FLAIR.nii.gz" for i in (1, 2, 3)
    ]
    assert capsys.readouterr().out.splitlines() == list(map(str, paths))
    assert len({path.read_bytes() for path in paths}) == 3
    told = json.loads(Path(str(paths[0]).replace(".nii.gz", ".json")).read_text())
    assert told["Synthetic"] is True
    assert told["Conditions"] == {"age": "60", "sex": "female", "tumor": "no"}
    assert (told["SamplingSteps"], told["Seed"]) == (2, 42)


def test_a_volume_depends_on_its_number_and_request_not_on_how_many(checkpoint, tmp_path):
    (alone,) = ask(checkpoint, tmp_path / "one", age=30.0)
    first, _ = ask(checkpoint, tmp_path / "two", age=30.0, n=2)
    assert alone.read_bytes() == first.read_bytes()
    (other,) = ask(checkpoint, tmp_path / "other", age=30.0, seed=7)
    assert (volume(alone) != volume(other)).any()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"modality": "PD"}, "unknown modality 'PD'"),
        ({"field": ["shoe=43"]}, "no metadata field 'shoe'"),
        ({"field": ["tumor"]}, "'tumor' must have the form NAME=VALUE"),
        ({"field": ["tumor="]}, "'tumor=' must have the form NAME=VALUE"),
        ({"age": 60.0, "field": ["age=7"]}, "'age' is given twice"),
        ({"sex": "maybe"}, "sex is 'maybe'"),
        ({"age": 600.0}, "age is 600"),
        ({"sampler": "magic"}, "wfdm sample: .sampler.: Input should be .*got .magic."),
        ({"n": 0}, "-n is 0"),
        ({"steps": 0}, "wfdm sample: .steps.: Input should be greater than 0"),
    ],
)
def test_what_cannot_be_made_is_refused(checkpoint, tmp_path, asked, said):
    with pytest.raises(UserError, match=said) as caught:
        ask(checkpoint, tmp_path, **asked)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def table(folder: Path, text: str) -> Path:
    path = folder / "order.tsv"
    path.write_text(text.replace(" ", "\t") + "\n")
    return path


def order(checkpoint: Path, file: Path, out: Path, **asked) -> dict[str, Path]:
    """Make what a table orders; return the volumes by their file's beginning and end."""
    paths = ask(checkpoint, out, modality=None, requests=file, **asked)
    return {f"{p.name.split('_')[0]} {p.name.split('_')[-1][:-7]}": p for p in paths}


ORDER = "name modality age sex\nann T1w 30 female\nann T2w 30 female\nbob FLAIR - -\neve T1w - F"


def test_a_cohort_is_ordered_by_a_table(checkpoint, tmp_path, capsys):
    file = table(tmp_path, ORDER.replace("-", "n/a"))
    made = order(checkpoint, file, tmp_path / "out")
    assert set(made) == {"ann T1w", "ann T2w", "bob FLAIR", "eve T1w"}
    assert len(capsys.readouterr().out.splitlines()) == 4
    told = {name: json.loads(sidecar_path(path).read_text()) for name, path in made.items()}
    assert told["ann T2w"]["Conditions"] == {"age": "30", "sex": "female"}
    assert told["bob FLAIR"]["Conditions"] == {} and told["bob FLAIR"]["Contrast"] == "FLAIR"
    # The same request by options, under the name it gets there, is the same sample.
    file = table(tmp_path, "modality age\nT1w 30")
    (by_table,) = order(checkpoint, file, tmp_path / "one").values()
    (by_options,) = ask(checkpoint, tmp_path / "two", age=30.0)
    assert by_table.name == by_options.name and by_table.read_bytes() == by_options.read_bytes()


def test_two_processes_make_what_one_does(checkpoint, tmp_path):
    """A shard each, at the same time, on the command line."""
    rows = [f"p{number} {('T1w', 'FLAIR')[number % 2]} {30 + number}" for number in range(8)]
    file = table(tmp_path, "\n".join(["name modality age", *rows]))
    whole = order(checkpoint, file, tmp_path / "whole", threads=1)
    given = ["--checkpoint", checkpoint, "--requests", file, "--steps", 2, "--threads", 1]
    command = [sys.executable, "-c", "import wfdm.cli; wfdm.cli.main()", "sample", *given]
    command += ["--out", tmp_path / "parts", "--shards", 2]
    parts = [subprocess.Popen([*map(str, command), "--shard", shard]) for shard in "01"]
    assert [part.wait() for part in parts] == [0, 0]
    assert len(whole) == 8
    for path in whole.values():
        for each in (path, sidecar_path(path)):
            assert each.read_bytes() == (tmp_path / "parts" / each.name).read_bytes()


def test_each_volume_has_a_record_and_is_made_once(checkpoint, tmp_path):
    file = table(tmp_path, "name modality age\nann T1w 30\nbob T1w 40")
    made = order(checkpoint, file, tmp_path / "out")
    ann, bob = made["ann T1w"], made["bob T1w"]
    record = read(record_path(ann))
    assert record["stage"] == "sample" and record["seed"] == 42
    assert record["outputs"] == digests([ann, sidecar_path(ann)])
    compressor = checkpoint.parents[1] / "compressors" / "haar"
    files = [checkpoint / "config.json", *(f / WEIGHTS for f in (checkpoint, compressor))]
    assert record["inputs"] == digests(files)
    assert record["settings"]["metadata"] == {"age": "30"}
    before = {path: path.stat().st_mtime_ns for path in (ann, record_path(ann))}
    bob.unlink()
    record_path(bob).unlink()
    table(tmp_path, "name modality age\nann T1w 30\nbob T1w 50")
    order(checkpoint, file, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read(record_path(bob))["settings"]["metadata"] == {"age": "50"}
    record_path(ann).unlink()  # of a run that was killed between the two
    order(checkpoint, file, tmp_path / "out")
    assert read(record_path(ann))["outputs"] == record["outputs"]


def test_an_age_brings_its_group_where_training_did(tmp_path):
    scans = cohort()
    latents = encode_all(tmp_path, scans)
    learned = train(latents, tmp_path / "denoisers" / "groups", scans, age_groups=True, steps=1)
    file = table(tmp_path, "name modality age age_group\na T1w 60 \nb T1w 60 20-25\nc T1w  ")
    made = order(learned, file, tmp_path / "out")
    told = [json.loads(sidecar_path(made[f"{name} T1w"]).read_text()) for name in "abc"]
    assert [each["Conditions"] for each in told] == [
        {"age": "60", "age_group": "60-65"},
        {"age": "60", "age_group": "20-25"},
        {},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age\n30", "needs the column modality"),
        ("modality", "needs the column modality, and a row for each volume"),
        ("modality shoe\nT1w 43", "no metadata field 'shoe'; there is age, height"),
        ("modality\nPD", "row 1: unknown modality 'PD'"),
        ("modality age\nT1w 30\nT1w old", "row 2: age is not a number"),
        ("modality age\nT1w 600", "row 1: age is outside"),
        ("modality sex\nT1w maybe", "row 1: sex is in no known spelling"),
        ("name modality\n../a T1w", "row 1: '../a' names a file"),
        ("name modality\na T1w\na T1w", "row 2: there is a T1w of 'a' already"),
    ],
)
def test_an_order_that_cannot_be_made_is_refused(checkpoint, tmp_path, text, said):
    with pytest.raises(UserError, match=said) as caught:
        order(checkpoint, table(tmp_path, text), tmp_path / "out")
    assert "\n" not in str(caught.value) and "600" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_modality_that_was_never_learned_is_refused_before_anything_is_made(tmp_path):
    scans = cohort()
    few = scans[scans["modality"].isin(["T1w", "T2w"]) | (scans["split"] != "train")]
    blind = train(encode_all(tmp_path, scans), tmp_path / "denoisers" / "blind", few, steps=1)
    file = table(tmp_path, "modality\nT1w\nFLAIR")
    with pytest.raises(UserError, match="tiny was not trained on FLAIR; it makes T1w, T2w"):
        order(blind, file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_table_and_options_are_not_mixed(checkpoint, tmp_path):
    file = table(tmp_path, "modality\nT1w")
    for asked in ({"n": 2}, {"age": 3.0}, {"sex": "male"}, {"field": ["tumor=no"]}):
        with pytest.raises(UserError, match="says what is wanted"):
            order(checkpoint, file, tmp_path, **asked)
    with pytest.raises(UserError, match="give --modality, or a table"):
        ask(checkpoint, tmp_path, modality=None)
    with pytest.raises(UserError, match="shard 2: there are 2"):
        order(checkpoint, file, tmp_path, shard=2, shards=2)


def test_a_folder_that_holds_no_denoiser_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config\.json is missing"):
        ask(tmp_path / "nothing", tmp_path)
