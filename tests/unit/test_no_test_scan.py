"""A study without a test scan: told when it is split, and refused by all that needs one."""

import sys

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT
from wfdm.cli import main
from wfdm.config.compressors import HaarTransform
from wfdm.config.study import Study
from wfdm.data.table import columns, write_table
from wfdm.evaluation.features import Features, write
from wfdm.models.compressors.registry import build, save
from wfdm.stages.plan import settings_of
from wfdm.tables.synthesis import COUNTS, EXTRACTOR, FORMATS

STUDY = Study.model_validate(
    {
        "volume": {"shape": [64, 64, 64]},
        "compressor_training": {"crop": [32, 32, 32]},
        "evaluation": {"lpips": None, "features": {"depth": 10, "weights": None}},
    }
)
EVERY = ("--volumes", "volumes.tsv", "--shard", "0", "--shards", "1", "--out", "out/o")
TEST = (*EVERY, "--splits", "splits.tsv")
NO_TEST = "splits.tsv: there is no test scan; add people, or change the split's shares"
TABLES = ("table3", "table4")  # these have no settings
NO_ROW = "rows.csv: there is no test scan in it; evaluate again with test scans"
NO_VOLUME = "real.safetensors: there is no volume to extract features from"
NEEDS = {
    "reconstruction": ("--compressor", "haar/model.safetensors", *TEST),
    "floors": ("--means", "means", *TEST),
    "features": ("--means", "means", *TEST),
    "sample-test": ("--scans", "scans.tsv", "--source", "source.tsv", *TEST),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two people: too few for three splits."""
    rows = [
        dict.fromkeys(columns(), "")
        | {"scan_id": f"A/sub-{number}_T1w", "dataset": "A", "person": f"A/{number}"}
        | {"subject": str(number), "group": "0", "modality": "T1w", "state": "raw"}
        | {"path": f"{number}.nii"}
        for number in (1, 2)
    ]
    scans = pd.DataFrame(rows)
    write_table(scans, tmp_path / "scans.tsv")
    volumes = scans[["scan_id", "dataset", "subject", "session", "group", "modality", "path"]]
    write_table(volumes, tmp_path / "volumes.tsv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch, capfd, stage, *arguments, **names):
    """Return the status of a stage, and the lines that it prints on standard error."""
    given = (
        []
        if stage in TABLES
        else ["--settings", settings_of(STUDY, stage.replace("-", "_"), **names)]
    )
    monkeypatch.setattr(sys, "argv", ["wfdm", stage, *given, *map(str, arguments)])
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    return code, capfd.readouterr().err.splitlines()


def written(folder):
    """Return the files below the folder of outputs."""
    return [path for path in (folder / "out").rglob("*") if path.is_file()]


def test_a_split_without_test_scans_warns_and_what_needs_them_refuses(folder, monkeypatch, capfd):
    to = ("--out", "splits.tsv", "--statistics", "s.json", "--leaks", "l.tsv")
    code, told = run(monkeypatch, capfd, "split", "--scans", "scans.tsv", *to)
    assert code == 0 and "wfdm: no scan is in validation or test: what needs one" in told[0]
    assert set(pd.read_csv("splits.tsv", sep="\t")["split"]) == {"train"}

    save(folder / "haar", build(HaarTransform(kind="haar", levels=1)))
    (folder / "means").touch()  # refused before they are read
    for stage, arguments in NEEDS.items():
        code, told = run(monkeypatch, capfd, stage, *arguments, generator="real-train")
        assert code == 1 and told == [f"wfdm: {NO_TEST}"], stage
        assert not written(folder)


METRICS = ("PSNR", "SSIM", "MS-SSIM", "LPIPS", "MSE")


@pytest.mark.parametrize("stage", TABLES)
def test_tables_of_no_test_scan_are_refused(folder, monkeypatch, capfd, stage):
    head = [*METRICS, "reference"] if stage == "table3" else [*FORMATS, *COUNTS, *EXTRACTOR, "note"]
    (folder / "rows.csv").write_text(",".join(["modality", *head]) + "\n")
    given = ["--row", "a=rows.csv", "--out", "out/t.csv"]
    given += ["--published", ROOT / f"config/published/{stage}.csv"]
    given += ["--floor", "rows.csv"] if stage == "table3" else []
    code, told = run(monkeypatch, capfd, stage, *given)
    assert code == 1 and told == [f"wfdm: {NO_ROW}"]
    assert not written(folder)


def test_synthesis_without_real_features_is_refused(folder, monkeypatch, capfd):
    none = Features({"none": np.zeros((0, 4), np.float32)}, (), (), (), "net", "0")
    write(none, folder / "real.safetensors")
    given = ["--real", "real.safetensors", "--synthetic", "real.safetensors", "--pairs", "p.csv"]
    (folder / "p.csv").write_text("first,second,modality,MS-SSIM\n")
    code, told = run(monkeypatch, capfd, "synthesis", *given, "--out", "out/s.csv")
    assert code == 1 and told == [f"wfdm: {NO_VOLUME}"]
    assert not written(folder)
