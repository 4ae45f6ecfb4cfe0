"""HA-GAN trained here: its networks, its losses, how it learns, resumes, is judged and samples."""

import csv
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from tests.unit.hagan_study import SMALL, SPACING, TRAINING, VOLUME, heads, task
from tests.unit.stage_b import cohort, die_at_step
from wfdm.baselines import hagan_folder, hagan_here
from wfdm.baselines.hagan_training import Files, Hagan, train_hagan
from wfdm.config.gans import HaganNetwork
from wfdm.config.generators import TrainedGanSettings
from wfdm.config.study import Study, merged
from wfdm.data.table import MODALITIES, columns, read_table, write_table
from wfdm.data.volumes import model_affine
from wfdm.errors import UserError
from wfdm.generators import Request
from wfdm.generators.order import default_name
from wfdm.provenance.digests import sha256_of
from wfdm.provenance.records import record_path
from wfdm.stages import benchmark, plan, rows, sample, sample_test, train_gan
from wfdm.tables.systems import described
from wfdm.training.plan import Job

CONFIG = Path(__file__).parents[2] / "config"
ROW = TrainedGanSettings(kind="gan", label="HA-GAN (trained here)", gan="tiny")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return heads(tmp_path_factory.mktemp("volumes"))


def train(volumes: pd.DataFrame, out: Path, start: Path | None = None, **training: Any) -> Path:
    train_hagan(task(**training), volumes, Files(), Job(out, "identity", start))
    return out


def history(out: Path) -> list[dict[str, float]]:
    with open(out / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


# --- training -------------------------------------------------------------------------------


def test_it_learns(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """In so few steps encoders and discriminators: samples' score, `val_loss`, takes far more."""
    made = train(volumes, tmp_path, steps=24, validate_every=8, learning_rate=1e-2, ema_decay=0.5)
    first, *_, last = history(made)
    for name in ("reconstruction_slab", "reconstruction", "val_reconstruction", "discriminator"):
        assert last[name] < 0.9 * first[name], name
    columns = "step adversarial reconstruction_slab reconstruction discriminator val_loss"
    assert list(first)[:6] == columns.split()
    assert {"val_other_modality", "val_spread", "skipped_discriminator"} <= set(first)


def test_a_cut_off_training_ends_as_an_undisturbed_one(
    volumes: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(volumes, tmp_path / "whole")
    calls = die_at_step(monkeypatch, 4, Hagan)
    with pytest.raises(KeyboardInterrupt):
        train(volumes, tmp_path / "cut")
    resumed = train(volumes, tmp_path / "cut")
    assert len(calls) == 4 + 2  # steps 1 and 2 were kept
    for file in ("model.safetensors", "history.csv", "config.json", "last/state.safetensors"):
        assert (resumed / file).read_bytes() == (whole / file).read_bytes(), file


def test_another_seed_or_name_trains_another(volumes: pd.DataFrame, tmp_path: Path) -> None:
    made = []
    for number, changes in enumerate(({}, {"seed": 8}, {"name": "other"})):
        out = tmp_path / str(number)
        train_hagan(replace(task(steps=1), **changes), volumes, Files(), Job(out, "identity"))
        made.append((out / "model.safetensors").read_bytes())
    assert len(set(made)) == 3


def test_it_begins_with_the_weights_of_another(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """A folder's weights are the average, and go into what is trained too."""
    first = train(volumes, tmp_path / "first", steps=1)
    given = first / "model.safetensors"
    second = train(volumes, tmp_path / "second", given, steps=1, learning_rate=1e-12)
    one, other = (hagan_folder.load(each)[0].state_dict() for each in (first, second))
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=0, atol=1e-8)


def test_mixed_precision_learns_about_the_same(volumes: pd.DataFrame, tmp_path: Path) -> None:
    full, mixed = (
        history(train(volumes, tmp_path / kind, steps=2, precision=kind))[0]
        for kind in ("32-true", "bf16-mixed")
    )
    for name in ("adversarial", "reconstruction_slab", "reconstruction", "discriminator"):
        assert mixed[name] == pytest.approx(full[name], rel=0.05), name
    assert mixed != full


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_told(split: str, volumes: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no scan is in the {split} split"):
        train(volumes[volumes["split"] != split], tmp_path)
    assert not list(tmp_path.iterdir())


# --- sampling -------------------------------------------------------------------------------

REQUESTS = [Request("a", "T1w", {"age": "30"}), Request("b", "FLAIR"), Request("a", "T1Gd")]


@pytest.fixture(scope="module")
def trained(volumes: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(volumes, tmp_path_factory.mktemp("gans") / "tiny", steps=2)


def test_it_samples_behind_the_protocol(trained: Path) -> None:
    """Every modality, on the study's shape and range; alone or beside others the same bits."""
    generator = hagan_here.of_row("row", ROW, trained / "model.safetensors")
    together = list(generator.sample(REQUESTS, 3))
    for request, made in zip(REQUESTS, together, strict=True):
        assert made.volume.shape == VOLUME.shape and made.volume.dtype == np.float32
        assert 0 <= made.volume.min() < made.volume.max() <= 1
        np.testing.assert_array_equal(made.affine, model_affine(VOLUME.shape, SPACING))
        (alone,) = generator.sample([request], 3)
        assert np.array_equal(alone.volume, made.volume)
    (other,) = generator.sample(REQUESTS[:1], 4)
    assert not np.array_equal(other.volume, together[0].volume)
    told = generator.made_by(REQUESTS[0], 3)
    assert told["Gan"] == "tiny" and told["Seed"] == 3
    assert told["ModelSHA256"] == {"gan": sha256_of(trained / "model.safetensors")}


def test_wfdm_sample_asks_it(trained: Path, tmp_path: Path) -> None:
    """What the generator makes, under its own name; options that it would ignore are refused."""
    sample.run(trained, modality="FLAIR", n=2, out=tmp_path)
    generator = hagan_here.load(trained)
    made = generator.sample([Request(default_name(n), "FLAIR") for n in (1, 2)], 42)
    for path, expected in zip(sorted(tmp_path.glob("*.nii.gz")), made, strict=True):
        np.testing.assert_array_equal(nib.load(path).get_fdata(dtype=np.float32), expected.volume)
        told = json.loads(record_path(path).read_text())["inputs"]
        assert {Path(name).name for name in told} == {"config.json", "model.safetensors"}
    for asked, said in (
        ({"steps": 5}, "one pass; leave out steps"),
        ({"age": 30.0}, "synthetic0001: .* told the modality alone; leave out age"),
        ({"modality": "PD"}, "unknown modality"),
    ):
        with pytest.raises(UserError, match=said):
            sample.run(**{"checkpoint": trained, "modality": "T1w", "out": tmp_path / "no"} | asked)
    assert not (tmp_path / "no").exists()


def test_it_hears_the_modality(trained: Path) -> None:
    """One name, so one noise: what differs between its volumes is the modality's."""
    generator = hagan_here.of_row("row", ROW, trained / "model.safetensors")
    requests = [Request("a", modality) for modality in MODALITIES]
    made = [sample.volume for sample in generator.sample(requests, 3)]
    for one, other in combinations(made, 2):
        assert np.abs(one - other).mean() > 1e-3 * one.std()


def test_a_modality_that_it_never_saw_is_refused(volumes: pd.DataFrame, tmp_path: Path) -> None:
    few = volumes[volumes["modality"].isin(["T1w", "T2w"]) | (volumes["split"] != "train")]
    out = train(few, tmp_path, steps=1)
    assert json.loads((out / "config.json").read_text())["modalities"] == ["T1w", "T2w"]
    generator = hagan_here.of_row("row", ROW, out / "model.safetensors")
    with pytest.raises(UserError, match="row was not trained on FLAIR; it makes T1w, T2w"):
        list(generator.sample([Request("a", "FLAIR")], 3))


@pytest.mark.parametrize("text", [None, "{}", '{"network": {"side": 3}}'])
def test_a_folder_without_a_gan_is_told(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"train the GAN|does not describe a trained GAN"):
        hagan_folder.load(tmp_path)


# --- the stages -----------------------------------------------------------------------------


def test_its_stages_train_sample_and_time_it(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """As the rules call them, on files: what tables 4 and 6 have of it."""
    scans = cohort()
    tables = [tmp_path / f"{name}.tsv" for name in ("scans", "splits", "volumes")]
    write_table(scans.assign(path="x.nii.gz", state="raw")[list(columns())], tables[0])
    write_table(scans[["scan_id", "person", "split"]].assign(leak=""), tables[1])
    write_table(volumes[["scan_id", "modality", "path", "sha256"]], tables[2])
    grid = {"volume": VOLUME.model_dump(), "spacing": SPACING}
    row = {"generator": "row", "made": {"kind": "gan", "gan": "tiny"}, **grid}

    own = {"gan": "tiny", "network": SMALL.model_dump(), "training": TRAINING | {"steps": 1}}
    settings = train_gan.Settings.parse(json.dumps({"seed": 7, **own, **grid}))
    model = tmp_path / "gans/tiny/model.safetensors"
    train_gan.run(settings, tables[2], tables[1], model, cache=tmp_path / "cache")
    record = json.loads(record_path(model).read_text())
    assert record["stage"] == "train-gan" and record["results"]["steps"] == 1
    assert {Path(path).name for path in record["outputs"]} == {
        *("model.safetensors", "config.json", "history.csv")
    }

    settings = sample_test.Settings.parse(json.dumps({"seed": 7, **row}))
    out = tmp_path / "samples" / "shard-0000-of-0001.tsv"
    sample_test.run(settings, *tables, 0, 1, out, source=model)
    made = read_table(out)
    assert sorted(made["scan_id"]) == sorted(scans.loc[scans["split"] == "test", "scan_id"])
    assert set(made["modality"]) == set(MODALITIES) and set(made["range"]) == {"unit"}

    empty = dict.fromkeys(("network", "process", "architecture"))
    timing = {"timing": {"warm_ups": 1, "repeats": 2, "batches": []}}
    settings = benchmark.Settings.parse(json.dumps(row | empty | timing))
    benchmark.run(settings, tmp_path / "row.json", model)
    told = json.loads((tmp_path / "row.json").read_text())
    assert told["output_size"] == list(VOLUME.shape) and told["steps"] is None


# --- the configuration ----------------------------------------------------------------------


def study(*overlays: str, **more: Any) -> Study:
    """The paper's study under overlays of config/, as Snakemake merges them."""
    whole: dict[str, Any] = yaml.safe_load((CONFIG / "config.yaml").read_text())
    for content in [*(yaml.safe_load((CONFIG / each).read_text()) for each in overlays), more]:
        whole = merged(whole, content)
    return plan.checked(Study.model_validate(whole))


def test_by_default_none_is_trained_and_the_overlay_trains_the_published_size() -> None:
    assert study().gans == {}
    over = study("baselines.yaml")
    assert over.gans["ha-gan-here"].network == HaganNetwork(side=256, latent=1024, channels=32)
    assert "ha-gan-here" in rows.table4(over) and "ha-gan-here" in rows.table6(over)


def test_the_benchmark_trains_it_for_the_denoisers_steps() -> None:
    made = study("demo.yaml", "baselines.yaml", "benchmark.yaml")
    gan, wfdm = made.gans["ha-gan-here"].training, made.denoisers["wfdm"].training
    for key in ("steps", "batch_size", "warmup_steps", "decay_power", "ema_decay", "balance"):
        assert getattr(gan, key) == getattr(wfdm, key), key


def test_table_2_tells_of_it_in_the_papers_words(trained: Path) -> None:
    made = study("baselines.yaml")
    cells = described(made, made.generators["ha-gan-here"], trained / "config.json", "")
    assert cells == {
        "Output modalities": "T1w, T2w, T1Gd, FLAIR",
        "Conditioning": "Modality",
        "Synthesis domain": "Pixel",
        "Scheduler": "N/A (GAN)",
        "Steps": "N/A",
        "Training source": "BrainScape",
    }


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"gans": {"ha-gan-here": {"network": {"side": 128}}}}, "a cube of 128 does not hold"),
        ({"generators": {"ha-gan-here": {"gan": "x"}}}, "gan: there is no 'x'; there is ha-gan"),
        ({"gans": {"a/b": {}}}, "gans: 'a/b' names a folder"),
        ({"gans": {"ha-gan-here": {"network": {"channels": 7}}}}, "multiple of 2"),
        ({"figures": {"generator": "ha-gan-here"}}, "'ha-gan-here' has no denoiser"),
    ],
)
def test_what_cannot_work_is_said(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        study("baselines.yaml", **more)
