"""The data layer at full size, measured: index, splits, leaks, table 1, plan of the study.

    python -m benchmarks.full_size FOLDER

writes the stand-in under FOLDER (some minutes), runs the study's own commands on it and puts the
results into benchmarks/results/: full_size.json, and the tables of rule 'person' and 'published'.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from benchmarks import stand_in
from benchmarks.hardware import describe
from wfdm.config import files
from wfdm.config.cohort import SplitSettings
from wfdm.data.published_split import BRATS, published_split
from wfdm.data.table import SPLITS, read_table
from wfdm.stages.plan import settings_of
from wfdm.tables.published import read_published

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
SEEDS = 20
WFDM = (sys.executable, "-c", "from wfdm.cli import main; main()")
SNAKEMAKE = (sys.executable, "-m", "snakemake", "--nolock")


def measured(command: tuple, log: Path) -> dict[str, float]:
    """Run a command; return its wall and CPU seconds and its peak memory in MB."""
    start = time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(map(str, command))[:200]}: see {log}")
    return {
        "wall_s": round(time.monotonic() - start, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def index_and_split(folder: Path, configuration: Path) -> dict:
    """Make the scan table and both splits by the commands; return times and counts."""
    study = files.read_study(ROOT / "config/config.yaml", configuration)
    data, found = folder / "tables", {}
    found["index"] = measured(
        (
            *(*WFDM, "index", "--settings", settings_of(study, "index")),
            *("--raw", "raw", "--aliases", study.people.aliases),
            *("--report", data / "index_report.tsv", "--people", data / "people.tsv"),
            *("--out", data / "scans.tsv"),
        ),
        folder / "index.log",
    )
    for rule in ("person", "published"):
        ruled = study.model_copy(update={"split": SplitSettings(rule=rule)})
        found[f"split, rule {rule}"] = measured(
            (
                *(*WFDM, "split", "--settings", settings_of(ruled, "split")),
                *("--scans", data / "scans.tsv", "--out", data / f"{rule}.tsv"),
                *("--statistics", data / f"{rule}.json", "--leaks", data / f"leaks_{rule}.tsv"),
            ),
            folder / "split.log",
        )
        table = RESULTS / f"table1_{rule}.csv"
        measured(
            (
                *(*WFDM, "table1", "--settings", settings_of(ruled, "table1")),
                *("--scans", data / "scans.tsv", "--splits", data / f"{rule}.tsv"),
                *("--out", table),
                *("--published", ROOT / "config/published/table1.csv"),
            ),
            folder / "table1.log",
        )
        table.with_name(f"{table.name}.prov.json").unlink()
    return found


def counts(folder: Path) -> dict:
    """Return totals, rejected records by reason, and leaks."""
    data = folder / "tables"
    scans, report = read_table(data / "scans.tsv"), read_table(data / "index_report.tsv")
    people = read_table(data / "people.tsv")
    leaks = {rule: read_table(data / f"leaks_{rule}.tsv") for rule in ("person", "published")}
    first = leaks["published"]["person"].str.split("/").str[0]
    bare = scans.drop_duplicates(["dataset", "subject"])["subject"]
    return {
        "datasets": scans["dataset"].nunique(),
        "subjects": len(bare),
        "subject ids that stand in several datasets": int((bare.value_counts() > 1).sum()),
        "people": scans["person"].nunique(),
        "people with several subject ids": people["person"].nunique(),
        "scans": len(scans),
        "by modality": scans["modality"].value_counts().to_dict(),
        "by state": scans["state"].value_counts().to_dict(),
        "rejected": report.loc[report["outcome"] == "rejected", "reason"].value_counts().to_dict(),
        "notes": report.loc[report["outcome"] == "note", "reason"].value_counts().to_dict(),
        "people in two splits": {rule: len(table) for rule, table in leaks.items()},
        "people in two splits, rule published, by dataset": dict(sorted(Counter(first).items())),
        "subjects per split, rule person": _shares(scans, read_table(data / "person.tsv")),
    }


def _shares(scans: pd.DataFrame, splits: pd.DataFrame) -> dict[str, int]:
    return splits.drop_duplicates("person")["split"].value_counts().to_dict()


def published_counts(folder: Path) -> dict:
    """Compare scans per split without BRATS with the paper's, over seeds of rule 'published'."""
    scans = read_table(folder / "tables" / "scans.tsv")
    rest = scans[scans["dataset"] != BRATS]
    draws = []
    for seed in range(SEEDS):
        split = published_split(rest, SplitSettings(rule="published"), seed)
        draws.append(pd.crosstab(rest["modality"], split).stack())
    drawn = pd.DataFrame(draws)
    published = read_published(ROOT / "config/published/table1.csv").set_index("key")
    paper = published[["Train", "Val", "Test"]].astype(int)
    found = {}
    for modality in ("T1w", "T2w", "FLAIR"):
        for split, column in zip(SPLITS, ("Train", "Val", "Test"), strict=True):
            printed = int(paper.loc[modality, column] - paper.loc["T1Gd", column])
            ours = drawn[modality, split]
            found[f"{modality} {split}"] = {
                "paper": printed,
                "mean": round(float(ours.mean()), 1),
                "sd": round(float(ours.std(ddof=1)), 2),
                "z": round(float((printed - ours.mean()) / ours.std(ddof=1)), 2),
            }
    return found


def plan(folder: Path, configuration: Path) -> dict:
    """Measure the dry run of table 4 before anything is made, and when all of it is."""
    configured = ("--configfile", configuration, "--cores", "1")
    results = folder / "results"
    scans = results / "data/scans.tsv"
    if not scans.is_file():
        measured((*SNAKEMAKE, *configured, scans), folder / "scans.log")
    dry = (*SNAKEMAKE, *configured, "--dry-run", results / "tables/table4.csv")
    found = {"dry run": measured(dry, folder / "plan.log")}
    jobs = planned(folder / "plan.log")
    summary = (*SNAKEMAKE, *configured, "--summary", results / "tables/table4.csv")
    measured(summary, folder / "summary.log")
    for line in (folder / "summary.log").read_text().splitlines():
        path = Path(line.split("\t")[0])
        if "\t" in line and path.suffix and not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    measured((*SNAKEMAKE, *configured, "--touch", results / "tables/table4.csv"), folder / "t.log")
    found["dry run, nothing to be done"] = measured(dry, folder / "plan_again.log")
    if "Nothing to be done" not in (folder / "plan_again.log").read_text():
        sys.exit(f"something is to be done: see {folder / 'plan_again.log'}")
    return found | {"jobs": jobs}


def planned(log: Path) -> dict[str, int]:
    """Return the jobs that a printed plan counts, by rule."""
    printed = log.read_text()
    jobs = {}
    for line in printed[printed.rindex("Job stats:") :].splitlines()[3:]:
        if not line.strip():
            break
        name, count = line.split()
        jobs[name] = int(count)
    return jobs


def main(folder: Path) -> None:
    """Measure everything and write the results."""
    checkout = folder / "stand-in"
    if not checkout.is_dir():
        stand_in.write(checkout)
    configuration = folder / "study.yaml"
    source = {"kind": "brainscape", "path": str(checkout), "exclude": ["AHDC", "SEND", "WRSP"]}
    configuration.write_text(json.dumps({"results": str(folder / "results"), "sources": [source]}))
    found = {
        "measured": index_and_split(folder, configuration),
        "counts": counts(folder),
        f"rule published without BRATS, {SEEDS} seeds": published_counts(folder),
        "plan": plan(folder, configuration),
    }
    found = {"hardware": describe()} | found  # last: a child's peak memory starts at its parent's
    (RESULTS / "full_size.json").write_text(json.dumps(found, indent=1) + "\n")
    coverage = folder / "tables" / "coverage.tsv"
    measured(
        (*WFDM, "coverage", "--scans", folder / "tables/scans.tsv", "--out", coverage),
        folder / "coverage.log",
    )
    shutil.copyfile(coverage, RESULTS / "coverage_stand_in.tsv")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
