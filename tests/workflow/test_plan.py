"""Plans: what would run, and the one line that a user reads when nothing can."""

import shutil
import subprocess
import sys
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
import yaml

from benchmarks import needs, needs_audits, stand_in
from tests.workflow.conftest import ROOT, Workflow, planned
from wfdm.config.study import Study

SHARDS = 3


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Workflow:
    """A copy of the checkout without any data or assets."""
    return Workflow.copied(tmp_path_factory.mktemp("checkout"), []).over(assets="assets")


@pytest.fixture(scope="module")
def brainscape(checkout) -> Workflow:
    """The study on a stand-in for two datasets of BrainScape, 104 sessions, its scans listed."""
    stand_in.write(checkout.folder / "stand-in", ["BDDR", "NIMHC"])  # 53 and 51
    source = {"kind": "brainscape", "path": "stand-in"}
    study = checkout.over(results="listed", sources=[source], shards=SHARDS)
    study.run("listed/data/scans.tsv")
    return study


def one_line(printed: str, words: str) -> str:
    """The one line that holds these words."""
    (line,) = [line for line in printed.splitlines() if words in line]
    assert "Traceback (most recent call last)" not in printed
    return line


def test_the_study_without_data_says_what_to_place_where(checkout):
    printed = checkout.run("--dry-run", "results/tables/table4.csv", code=1)
    assert "place the raw scans there" in one_line(printed, "No data at data/BrainScape")
    told = one_line(printed, "published weights are not placed")
    for name in ("aldm-vqgan", "brainsynth-vqvae", "ldm-vae", "maisi-vae"):
        assert f"{name} (assets/" in told


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sed: 1", "unknown key 'sed'"),
        ("volume: {shap: [1]}", "unknown key 'volume.shap'"),
        ("seed: 1\nstudy: x\nseed: 2", "wrong.yaml, line 3: 'seed' is given twice; keep one"),
        ("generators: {wfdm: {denoiser: nope}}", "generators.wfdm.denoiser: there is no 'nope'"),
        ("denoisers: {wfdm: {network: {maps: [aeg]}}}", "no metadata field 'aeg'; there is age"),
        ("figures: {generator: nope}", "figures.generator: there is no 'nope'"),
        (
            "compressors: {dwt-1: {label: Twice}, dwt-2: {label: Twice}}",
            "compressors.dwt-2.label: 'Twice' is also the label of dwt-1",
        ),
    ],
)
def test_what_cannot_work_is_refused_at_once(checkout, text, named):
    (checkout.folder / "wrong.yaml").write_text(text)
    study = Workflow(checkout.folder, [*checkout.configs, "wrong.yaml"])
    one_line(study.run("--dry-run", "all", code=1), named)


@pytest.mark.parametrize("elsewhere", ["snakefile", "directory"])
def test_a_start_from_elsewhere_says_where_to_start(checkout, tmp_path, elsewhere):
    there = checkout.folder.resolve()
    begun, given = {
        "snakefile": (tmp_path, ["--snakefile", str(there / "Snakefile")]),
        "directory": (there, ["--directory", str(tmp_path)]),
    }[elsewhere]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", *given]
    done = subprocess.run(
        [*command, "--configfile", str(there / "config/demo.yaml")],
        cwd=begun,
        env=checkout.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"Start Snakemake in {there}," in one_line(done.stdout + done.stderr, "--directory")
    assert [path for path in tmp_path.rglob("*") if path.suffix in (".yaml", ".tsv")] == []


MISSING = "results/demo/completions/wfdm/missing/volumes.tsv"
DEMO = {
    **{"asset": 2, "index": 1, "coverage": 1, "split": 1, "phantom": 1, "preprocess": 1},
    **{"quality": 1, "volumes": 1, "image_hash": 1, "near_duplicates": 1},
    **{"train_compressor": 4, "encode": 1, "latents": 1, "train_denoiser": 1},
    **{"sample": 5, "samples": 5, "mean_volumes": 1, "floors": 1, "reconstruction": 4, "join": 5},
    **{"features": 6, "diversity": 5, "synthesis": 5, "table1": 1, "table3": 1, "table4": 1},
    **{"table8to11": 4, "metrics": 1, "differences": 1, "figure1": 1, "figure2": 1, "figure3": 1},
    **{"table2": 1, "table12to15": 4, "table5": 1, "table16to19": 4, "figure4to7": 4, "pages": 1},
    **{"timing": 1, "table6": 1, "table7": 1},
}


@pytest.mark.parametrize("profile", [[], ["--profile", "slurm"]], ids=["default", "slurm"])
def test_demo_is_a_study_of_the_same_rules(checkout, profile):
    study = Workflow(checkout.folder, ["config/demo.yaml", *checkout.configs])
    printed = study.run("--dry-run", *profile)
    jobs = dict(planned(printed))
    jobs.pop("all")
    assert jobs == DEMO
    assert "Group job" not in printed


def test_systems_trained_here_are_rows_like_any_other(checkout):
    """Three more compressors and denoisers than the demo has, a GAN, and four generators."""
    overlays = [f"config/{name}.yaml" for name in ("demo", "baselines", "benchmark")]
    jobs = dict(planned(Workflow(checkout.folder, [*overlays, *checkout.configs]).run("--dry-run")))
    jobs.pop("all")
    of_compressors = "train_compressor encode latents reconstruction".split()
    of_generators = "sample samples features diversity synthesis timing".split()
    assert jobs == {
        **DEMO,
        **{rule: DEMO[rule] + 3 for rule in (*of_compressors, "train_denoiser", "join")},
        **{rule: DEMO[rule] + 4 for rule in of_generators},
        "train_gan": 1,
    }


def test_a_gan_is_trained_before_its_row_of_tables_4_and_6(checkout):
    overlays = [f"config/{name}.yaml" for name in ("demo", "baselines", "benchmark")]
    study = Workflow(checkout.folder, [*overlays, *checkout.configs])
    for table in (4, 6):
        wanted = f"results/benchmark/tables/table{table}.csv"
        printed = study.run("--dry-run", "--printshellcmds", wanted)
        assert "--out results/benchmark/gans/ha-gan-here/model.safetensors" in printed
        (row,) = [line for line in printed.splitlines() if f"wfdm table{table} " in line]
        assert "'ha-gan-here=HA-GAN (trained here)'" in row


def test_a_completion_adds_its_own_jobs_and_changes_no_other(checkout):
    overlays = [f"config/{name}.yaml" for name in ("demo", "completion", "completion-demo")]
    study = Workflow(checkout.folder, [*overlays, *checkout.configs])
    jobs = dict(planned(study.run("--dry-run")))
    jobs.pop("all")
    own = "train_completion complete_tests completed_tests completion_metrics join_completion"
    beside = ("train_plain_unet", "phantom_lesions", "tableA1", "figureA1")
    assert jobs == DEMO | dict.fromkeys([*own.split(), *beside], 1)
    missing = dict(planned(study.run("--dry-run", MISSING)))
    assert {"train_completion", "complete_missing", "completed"} <= missing.keys()


def test_what_metadata_control_adds_its_own_jobs_and_changes_no_other(checkout):
    overlays = [f"config/{name}.yaml" for name in ("demo", "controllability")]
    asked = Workflow(checkout.folder, [*overlays, *checkout.configs])
    small = Workflow(
        checkout.folder, [*overlays, "config/controllability-demo.yaml", *checkout.configs]
    )
    own = "phantom_truth controlled measured features_controlled controllability tableA2 figureA2"
    wanted = DEMO | dict.fromkeys(own.split(), 1)
    for study, assets in ((small, 2), (asked, 4)):  # thresholds need no file, MeshNet two
        jobs = dict(planned(study.run("--dry-run")))
        jobs.pop("all")
        assert jobs == wanted | {"asset": assets}


def test_an_audit_of_memorisation_adds_its_own_jobs_and_changes_no_other(checkout):
    """Samples of test scans and known copies, which are made of training scans."""
    overlays = [f"config/{name}.yaml" for name in ("demo", "memorisation")]
    study = Workflow(checkout.folder, [*overlays, *checkout.configs])
    jobs = dict(planned(study.run("--dry-run")))
    jobs.pop("all")
    twice = "encode_samples features_training neighbours memorisation".split()
    once = "sample_training samples_training neighbours_real memorisation_floor membership".split()
    own = dict.fromkeys(twice, 2) | dict.fromkeys([*once, "tableA3", "figureA3"], 1)
    assert jobs == DEMO | own


def table_4(shards: int) -> dict[str, int]:
    """The jobs of table 4 on scans that are listed."""
    return {
        # Assets: the atlas, its head, and the weights of two feature networks.
        **{"asset": 4, "split": 1, "preprocess": shards, "volumes": 1},
        # WFDM and, for MAISI's weights are not placed, the VAE-GAN in its stead; and references.
        **{"train_compressor": 2, "encode": 2 * shards, "latents": 2, "train_denoiser": 2},
        **{"sample": 6 * shards, "samples": 6, "mean_volumes": 1, "features": 7 * shards},
        **{"diversity": 6 * shards, "synthesis": 6, "table4": 1},
    }


def test_sessions_are_no_jobs(brainscape):
    printed = brainscape.run("--dry-run", "listed/tables/table4.csv", "--profile", "slurm")
    assert "Group job" not in printed
    assert dict(planned(printed)) == table_4(SHARDS)
    # BrainScape delivers brains, so no network that finds them is asked for.
    assert "assets/sri24-head.nii" in printed and "hd-bet-0.model" not in printed


def test_every_rule_asks_for_what_it_needs_at_the_studys_size(brainscape):
    """The needs are measured rates times the paper's scans in 64 shards (docs/cluster.md)."""
    declared = brainscape.over(results="other", shards=5).declared("all", "snapshot")
    study = Study()
    placed = {name: row for name, row in study.compressors.items() if not row.pretrained}
    small = needs.needs(study.model_copy(update={"shards": 5, "compressors": placed}))
    jobs = {rule: asked["jobs"] for rule, asked in declared.items() if rule not in needs.FREE}
    assert {need.rule: need.jobs for need in small} == jobs

    found = needs.needs(study)
    assert needs.wanting(found, declared) == []
    assert needs.table(found, declared) in needs.PAGE.read_text()
    slow = [replace(need, cpu=100 * need.cpu, mb=100 * need.mb) for need in found]
    told = needs.wanting(slow, declared)
    assert len([line for line in told if ": mem_mb " in line]) == len(found)
    unknown = [replace(found[0], mb=nan), *found[1:]]
    assert len(needs.wanting(unknown, declared)) == 1, "what was not measured is not enough"
    assert any(line.startswith("mean_volumes: runtime ") for line in told)
    assert needs.wanting(found[1:], declared) == [f"{found[0].rule}: no rate"]


def test_every_rule_of_the_audit_asks_for_what_it_needs_too(brainscape):
    """The jobs of 5 shards are those of the plan; the needs are those of 64."""
    asked = brainscape.over(results="other", shards=5, **needs_audits.ASKED)
    declared = needs_audits.own(asked.declared("all"))
    small = needs_audits.needs(Study().model_copy(update={"shards": 5}))
    jobs = {rule: asked["jobs"] for rule, asked in declared.items()}
    assert {need.rule: need.jobs for need in small} == jobs

    found = needs_audits.needs(Study())
    assert needs.wanting(found, declared) == []
    assert needs.table(found, declared) in needs.PAGE.read_text()
    slow = [replace(need, mb=100 * need.mb) for need in found]
    assert len(needs.wanting(slow, declared)) == len(found)
    assert needs.wanting(found[1:], declared) == [f"{found[0].rule}: no rate"]


TABLE_TWICE = """
rule table:
    input: "raw.txt"
    output: "table.tsv"
    shell: "head -c {bytes} /dev/zero > {{output}}"

rule training:
    input: "table.tsv"
    output: "model.txt"
    shell: "touch {{output}}"
"""
LARGEST = 60_000_000  # bytes; the scan table of the full study has 14 million


def test_a_table_that_comes_out_as_it_was_redoes_nothing(tmp_path):
    """At the study's sizes too: by itself Snakemake compares files up to 1 MB."""
    profile = tmp_path / "workflow" / "profiles" / "default"
    shutil.copytree(ROOT / "workflow/profiles/default", profile)
    (tmp_path / "workflow" / "Snakefile").write_text(TABLE_TWICE.format(bytes=LARGEST))
    (tmp_path / "none.yaml").write_text("{}")
    raw = tmp_path / "raw.txt"
    raw.write_text("before")
    workflow = Workflow(tmp_path, ["none.yaml"])
    workflow.run("training")
    raw.write_text("after")
    assert workflow.plan("training") == {"table": 1, "training": 1}
    workflow.run("table")
    assert workflow.plan("training") == {}


def test_the_profiles_name_only_what_they_change():
    options = {
        path.parent.name: yaml.safe_load(path.read_text())
        for path in Path(ROOT, "workflow/profiles").glob("*/config.yaml")
    }
    assert not [key for key in options["slurm"] if "group" in key]
    # The default profile is loaded with every other one, and must not contradict it.
    assert not options["default"].keys() & options["slurm"].keys()
