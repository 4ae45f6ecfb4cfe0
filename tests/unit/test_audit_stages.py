"""From volumes to table A3, stage by stage, on a study of seconds."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.unit.completion_study import lay_out, make
from tests.unit.stage_b import SPACING, VOLUME
from wfdm.config.generators import DiffusionSettings, ReconstructionSettings
from wfdm.data.table import read_table
from wfdm.stages import (
    encode,
    figure_a3,
    membership,
    memorisation,
    neighbours,
    planted,
    sample_test,
    samples,
    table_a3,
    table_planted,
)

COPY = {"copy_below": 0.8}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    root = make(tmp_path_factory.mktemp("audits"))
    lay_out(root)
    return root


def run(stage, settings, *given, **more):
    stage.run(stage.Settings.parse(json.dumps(settings)), *given, **more)


def tables(root):
    return [root / "scans.tsv", root / "splits.tsv", root / "preprocessed" / "volumes.tsv"]


def asked(root: Path, name: str, row, source: Path, training: int | None) -> Path:
    """Make samples as their rule does; return their table."""
    out = root / "samples" / name / "shard-0000-of-0001.tsv"
    told = {"seed": 7, "generator": name.partition(".")[0], "volume": VOLUME.model_dump()}
    told |= {"spacing": SPACING, "made": row.model_dump()}
    run(sample_test, told, *tables(root), 0, 1, out, source=source, training=training)
    samples.run(1, out.with_name("samples.tsv"))
    return out.with_name("samples.tsv")


def searched(root: Path, name: str, table: Path | None) -> Path:
    """Find the neighbours of samples, or of real scans; return their table."""
    volumes, splits = tables(root)[2], tables(root)[1]
    compressor = root / "compressors" / "haar" / "model.safetensors"
    encoded = table.parent / "latents" / "shard-0000-of-0001.npy" if table else None
    if encoded:
        run(encode, {"volume": VOLUME.model_dump()}, compressor, table, 0, 1, encoded)
    out = root / "evaluation" / "neighbours" / f"{name}.csv"
    told = {"volume": VOLUME.model_dump(), "spaces": ["latent", "image"], "pool": 2}
    given = [volumes, splits, root / "latents" / "scale.json", out]
    run(neighbours, told, *given, samples=table, encoded=[encoded] if encoded else None)
    return out


@pytest.fixture(scope="module")
def neighboured(study) -> dict[str, Path]:
    """Neighbours of real scans, known copies, samples, and samples asked for training scans."""
    known = ReconstructionSettings(kind="reconstruction", compressor="haar")
    made = DiffusionSettings(kind="diffusion", denoiser="tiny", steps=2)
    haar = study / "compressors" / "haar" / "model.safetensors"
    tiny = study / "denoisers" / "tiny" / "model.safetensors"
    found = {
        "known.training": asked(study, "known.training", known, haar, 0),
        "tiny": asked(study, "tiny", made, tiny, None),
        "tiny.training": asked(study, "tiny.training", made, tiny, 100),
    }
    return {"real": searched(study, "real", None)} | {
        name: searched(study, name, table) for name, table in found.items()
    }


def test_known_copies_are_their_own_training_scans(neighboured):
    """The Haar transform loses nothing, so a training scan through it is the scan."""
    table = pd.read_csv(neighboured["known.training"])
    assert (
        set(table["space"]) == {"latent", "image"} and len(table) == 2 * 6
    )  # of T2w there are 2 only
    assert (table["nearest"] == table["scan_id"]).all()
    assert (table["relative"] < 0.05).all()  # half precision, and percentiles


def test_real_scans_are_those_of_validation_and_test(study, neighboured):
    table = pd.read_csv(neighboured["real"])
    splits = read_table(study / "splits.tsv").set_index("scan_id")["split"]
    wanted = splits[splits != "train"]
    assert table[table["space"] == "latent"].set_index("scan_id")["split"].to_dict() == (
        wanted.to_dict()
    )
    assert set(table["nearest"]) <= set(splits[splits == "train"].index)


def test_every_training_scan_is_asked_for(study, neighboured):
    splits = read_table(study / "splits.tsv")
    asked_for = set(pd.read_csv(neighboured["tiny.training"])["scan_id"])
    assert asked_for == set(splits.loc[splits["split"] == "train", "scan_id"])


def test_table_a3_flags_known_copies_and_no_real_scan(study, neighboured, tmp_path):
    given = {"known": "known.training", "tiny": "tiny", "validation": None}
    audits = {name: tmp_path / f"{name}.csv" for name in given}
    for name, source in given.items():
        judged = {"samples": neighboured[source]} if source else {}
        run(memorisation, COPY, neighboured["real"], audits[name], **judged)
    told = {"seed": 7, "denoiser": "tiny", "membership": {"times": 2, "scans": 9}}
    scores, latents = tmp_path / "tiny_losses.csv", study / "latents" / "scale.json"
    model = study / "denoisers" / "tiny" / "model.safetensors"
    run(membership, told | {"resamples": 50}, model, latents, *tables(study)[:2], scores)
    table, rows = tmp_path / "tableA3.csv", [f"{name}={path}" for name, path in audits.items()]
    auc = [f"tiny={tmp_path}/tiny_losses_auc.csv"]
    run(table_a3, COPY, rows, table, ["known=Known"], membership=auc)
    written = pd.read_csv(table)
    every = written[written["Modality"] == "All"].set_index(["System", "Compared in"])
    assert every.loc[("Known", "latent"), ["Verdict", "n", "Copies"]].tolist() == ["copies", 6, 6]
    assert every.loc[("validation", "latent"), "Verdict"] == "no copy found"
    assert every.loc[("tiny", "loss"), ["n", "n test"]].tolist() == [9, 7]
    splits = {"seed": 7, "denoiser": "tiny", "copies": {"8": 2}, **COPY}
    plant = tmp_path / "plant.csv"
    run(planted, splits, neighboured["tiny.training"], scores, latents, tables(study)[1], plant)
    found = pd.read_csv(plant).set_index(["space", "copies"])["n"]
    assert found[("latent", 8)] == 2 and found[("latent", 0)] == 8
    table_planted.run([f"tiny={plant}"], tmp_path / "planted.csv")
    assert "not planted" in (tmp_path / "planted.csv").read_text()


def test_figure_a3_shows_a_pair_of_each_modality(study, neighboured, tmp_path):
    told = {"volume": VOLUME.model_dump(), "dpi": 50}
    made = [f"tiny={study}/samples/tiny/samples.tsv"]
    out = tmp_path / "figureA3.pdf"
    run(figure_a3, told, [f"tiny={neighboured['tiny']}"], made, tables(study)[2], out)
    assert out.stat().st_size > 1000 and out.with_suffix(".png").is_file()
