"""Plans: what would run, and the one line that a user reads when nothing can."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import stand_in

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def snakemake(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--nolock", *arguments],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == code, printed
    return printed


def test_the_study_without_data_says_what_to_place_where():
    printed = snakemake("--cores", "1", "--dry-run", "results/tables/table4.csv", code=1)
    told = [line for line in printed.splitlines() if "No data at data/BrainScape" in line]
    assert len(told) == 1
    assert "place the raw scans there" in told[0]
    told = [line for line in printed.splitlines() if "published weights are not placed" in line]
    assert len(told) == 1
    for name in ("aldm-vqgan", "brainsynth-vqvae", "ldm-vae", "maisi-vae"):
        assert f"{name} (resources/assets/" in told[0]


@pytest.mark.parametrize(
    ("over", "named"),
    [({"sed": 1}, "unknown key 'sed'"), ({"volume": {"shap": [1]}}, "unknown key 'volume.shap'")],
)
def test_a_typo_is_named(tmp_path, over, named):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(over))
    printed = snakemake("--cores", "1", "-n", "--configfile", str(path), code=1)
    assert [line for line in printed.splitlines() if named in line]


def test_slurm_profile_plans_the_demo(tmp_path):
    over = tmp_path / "mine.yaml"
    over.write_text(yaml.safe_dump({"results": str(tmp_path / "results")}))
    configs = ("--configfile", "config/demo.yaml", str(over))
    printed = snakemake("--profile", "slurm", "--dry-run", *configs)
    assert "index" in printed and "Job stats" in printed


def test_demo_is_a_study_of_the_same_rules(tmp_path):
    over = tmp_path / "mine.yaml"
    over.write_text(yaml.safe_dump({"results": str(tmp_path / "results")}))
    printed = snakemake("--cores", "1", "-n", "--configfile", "config/demo.yaml", str(over))
    planned = {line.split()[0] for line in printed.splitlines() if line[:1].isalpha()}
    rules = {"table1", "table3", "table4", "figure2", "figure3", "train_compressor", "sample"}
    assert rules <= planned


def test_a_cluster_job_holds_one_batch_of_brainscape_sessions(tmp_path):
    stand_in.write(tmp_path / "stand-in", ["BDDR", "NIMHC"])  # 53 and 51 sessions
    over = tmp_path / "mine.yaml"
    source = {"kind": "brainscape", "path": str(tmp_path / "stand-in")}
    results = tmp_path / "results"
    study = {"results": str(results), "assets": str(tmp_path / "assets"), "sources": [source]}
    over.write_text(yaml.safe_dump(study))
    snakemake(str(results / "data/scans.tsv"), "--cores", "1", "--configfile", str(over))
    target = (str(results / "tables/table4.csv"), "--dry-run", "--configfile", str(over))
    printed = snakemake(*target, "--profile", "slurm")
    groups = printed.split("Group job sessions")[1:]
    sizes = [len(re.findall(r"^    Job \d+", group, re.MULTILINE)) for group in groups]
    assert sorted(sizes) == [5, 21, 21, 21, 21, 21]  # up to 20 sessions and their batch
    assert re.search(r"^preprocess +104$", printed, re.MULTILINE)
    # BrainScape delivers brains, so no network that finds them is asked for.
    assert "assets/sri24-head.nii" in printed and "hd-bet-0.model" not in printed
    assert "Group job" not in snakemake(*target, "--cores", "1")
