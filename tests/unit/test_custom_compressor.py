"""A new compressor is one module and one configuration entry, from the plan to the figure."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from wfdm import models
from wfdm.config import files
from wfdm.config.compressors import Custom
from wfdm.data.table import write_table
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError
from wfdm.provenance.digests import sha256_of
from wfdm.stages.plan import settings_of

ROOT = Path(__file__).parents[2]
SHAPE = (48, 48, 48)


def documented(language: str) -> str:
    """Return the example of the documentation, so that it cannot go stale."""
    text = (ROOT / "docs" / "adding-a-model.md").read_text()
    blocks = [block.split("```")[0] for block in text.split(f"```{language}\n")[1:]]
    return next(block for block in blocks if "pooling" in block)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder outside the checkout with the documented module and entry."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "my_compressor.py").write_text(documented("python"))
    entry = yaml.safe_load(documented("yaml"))
    training = {
        "steps": 2, "validate_every": 1, "crop": [16, 16, 16], "precision": "32-true",
        "perceptual": {"network": None}, "adversarial": {"weight": 0}, "threads": 1,
    }  # fmt: skip
    name = next(iter(entry["compressors"]))
    entry["compressors"][name]["training"] = training
    entry |= {"volume": {"shape": list(SHAPE)}, "results": str(folder / "results")}
    (folder / "mine.yaml").write_text(yaml.safe_dump(entry))
    return folder, name


def run(lab, *command, code=0):
    """Run a command as a lab would, its module on PYTHONPATH."""
    path = os.pathsep.join(filter(None, [str(lab), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {
        "PYTHONPATH": path,
        "WFDM_ALLOW": "my_compressor",  # the workflow sets it from the configuration
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_plan_has_its_training_metrics_row_and_column(lab):
    folder, name = lab
    targets = (f"{folder}/results/tables/table3.csv", f"{folder}/results/figures/figure2.pdf")
    printed = run(
        folder, "-m", "snakemake", *targets, "--nolock", "--cores", "1", "-n", "-p",
        *("--configfile", "config/demo.yaml", str(folder / "mine.yaml")),
    )  # fmt: skip
    for expected in (
        f"compressors/{name}/model.safetensors",
        f"--row {name}={folder}/results/evaluation/reconstruction/{name}.csv",
        f"--column {name}={folder}/results/compressors/{name}/model.safetensors",
        f"--label '{name}=Pooling (ours)'",
    ):
        assert expected in printed


def test_it_is_trained_judged_tabulated_and_drawn_by_the_same_commands(lab, monkeypatch):
    folder, name = lab
    rows = []
    for index, split in enumerate(("train", "validation", "test")):
        path = folder / f"{index}.nii.gz"
        coarse = np.random.default_rng(index).random((12, 12, 12), dtype=np.float32)
        smooth = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)
        nib.save(nib.Nifti1Image(smooth, np.eye(4)), path)
        row = {"scan_id": f"s{index}", "modality": "T1w", "path": str(path)}
        rows.append(row | {"sha256": sha256_of(path), "person": f"p{index}", "split": split})
    table = pd.DataFrame(rows)
    volumes, splits = folder / "volumes.tsv", folder / "splits.tsv"
    write_table(table[["scan_id", "modality", "path", "sha256"]], volumes)
    write_table(table[["scan_id", "person", "split"]].assign(leak=""), splits)
    study = files.read_study("config/config.yaml", "config/demo.yaml", folder / "mine.yaml")
    scans = ("--volumes", volumes, "--splits", splits)
    model, metrics = folder / "made/model.safetensors", folder / "metrics.csv"
    floor, figure = folder / "floor.csv", folder / "figure2.pdf"

    def wfdm(*command):
        run(folder, "-c", "from wfdm.cli import main; main()", *map(str, command))

    settings = settings_of(study, "train_compressor", compressor=name)
    wfdm("train-compressor", "--settings", settings, *scans, "--out", model)
    settings, shard = settings_of(study, "reconstruction"), ("--shard", 0, "--shards", 1)
    judged = ("reconstruction", "--settings", settings, "--compressor", model)
    wfdm(*judged, *scans, *shard, "--out", metrics)
    means = folder / "means.safetensors"
    whole = settings_of(study, "mean_volumes")
    wfdm("mean-volumes", "--settings", whole, *scans, "--out", means)
    told = ("--means", means, "--out", floor)
    wfdm("floors", "--settings", settings, *scans, *shard, *told)
    out = folder / "table3.csv"
    label = ("--label", f"{name}=Pooling (ours)")
    rows_of_it = ("--row", f"{name}={metrics}", *label, "--floor", floor)
    wfdm("table3", *rows_of_it, "--published", "config/published/table3.csv", "--out", out)
    drawn = ("figure2", "--settings", settings_of(study, "figure2"))
    wfdm(*drawn, "--column", f"{name}={model}", *label, *scans, "--out", figure)

    ours = pd.read_csv(out).set_index("Model").loc["Pooling (ours)"]
    assert (ours["n"], ours["Comp"], ours["Chans"]) == (1, "1/4", 2)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("WFDM_ALLOW", "my_compressor")
    module = models.load(model.parent)
    real = torch.from_numpy(load_standardised(rows[2]["path"], study.volume))[None]
    error = float((module.decode(module.encode(real)[0]) - real).square().mean())
    assert ours["MSE"] == pytest.approx(error, abs=1e-6)
    assert figure.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("implementation", "options", "told"),
    [
        ("no_such_module:Mine", {}, "cannot be imported"),
        ("wfdm.models.haar:Missing", {}, "cannot be imported"),
        ("wfdm.models.blocks:ResBlock", {}, "is no subclass"),
        (
            "wfdm.models.compressors.haar_transform:HaarCompressor",
            {"width": 3},
            "does not take these options",
        ),
    ],
)
def test_what_cannot_be_built_is_told(implementation, options, told):
    settings = Custom(kind="custom", implementation=implementation, options=options)
    with pytest.raises(UserError, match=told):
        models.build(settings)
