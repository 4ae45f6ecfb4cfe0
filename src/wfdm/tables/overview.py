"""A study at a glance: which of the paper's tables and figures it made, run times, environment."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wfdm.data.table import rows_of
from wfdm.errors import UserError
from wfdm.html import render
from wfdm.provenance.records import SUFFIX, read
from wfdm.tables.pages import HERE
from wfdm.tables.published import KEY, read_published

BENCHMARK = ".benchmark.tsv"


def contents(published: Path | str, made: Mapping[str, Path | str]) -> list[dict[str, str]]:
    """Return the paper's tables and figures in its order: what is made where, or why not.

    Args:
        published: list of the paper's tables and figures (`config/published/contents.csv`).
        made: file by key ("table3") of those that the study makes.

    Returns:
        For each: name ("Table 3"), caption, file ("" where it is not made), reason (why not).

    Raises:
        UserError: the study makes one that is not in the list, or does not make one for whose
            absence the list has no reason.
    """
    listed = rows_of(read_published(published))
    if unknown := sorted(set(made) - {row[KEY] for row in listed}):
        raise UserError(f"{published}: has no row '{unknown[0]}', which the study makes; add one")
    found = []
    for row in listed:
        key, file = row[KEY], str(made.get(row[KEY], ""))
        if not file and not row["otherwise"]:
            raise UserError(f"{published}: '{key}' is not made; give the reason under 'otherwise'")
        name = key.rstrip("0123456789")
        name = f"{name.capitalize()} {key.removeprefix(name)}"
        reason = "" if file else row["otherwise"]
        found.append({"name": name, "caption": row["caption"], "file": file, "reason": reason})
    return found


def run_times(logs: Path) -> list[dict[str, Any]]:
    """Return what the last run of each rule's jobs took, the longest first.

    Args:
        logs: the study's folder of logs, with what Snakemake measured (`*.benchmark.tsv`).

    Returns:
        For each rule: jobs, seconds in all and of the longest job, MB of the largest.
    """
    measured = defaultdict(list)
    for path in sorted(logs.rglob(f"*{BENCHMARK}")):
        rule = path.relative_to(logs).parts[0].removesuffix(BENCHMARK)
        measured[rule].append(pd.read_csv(path, sep="\t").iloc[-1])
    rows = []
    for rule, jobs in measured.items():
        seconds = [float(job["s"]) for job in jobs]
        # Of a job that ends at once Snakemake measures no memory.
        memory = pd.to_numeric(pd.Series([job["max_rss"] for job in jobs]), errors="coerce").max()
        rows.append(
            {"rule": rule, "jobs": len(jobs), "seconds": sum(seconds), "longest": max(seconds)}
            | {"memory": None if pd.isna(memory) else float(memory)}
        )
    return sorted(rows, key=lambda row: -row["seconds"])


def environment(root: Path) -> dict[str, list[tuple[str, str, int]]]:
    """Return what the study's results were made with, out of their provenance records.

    Args:
        root: the study's results.

    Returns:
        "packages" and "devices": (name, version, how many records say so); a package that was
        updated in between has a row for each version.
    """
    packages: Counter[tuple[str, str]] = Counter()
    devices: Counter[tuple[str, str]] = Counter()
    for path in root.rglob(f"*{SUFFIX}"):
        record = read(path)
        packages.update(record["environment"].items())
        devices[record["device"], ""] += 1
    return {
        "packages": [(*names, count) for names, count in packages.items()],
        "devices": [(*names, count) for names, count in devices.most_common()],
    }


def overview(study: str, listed: list[dict[str, str]], root: Path, logs: Path) -> str:
    """Return the page of a study; `listed` is of `contents`."""
    return render(
        HERE / "overview.html.jinja",
        title=f"The study {study} at a glance",
        listed=listed,
        made=sum(1 for row in listed if row["file"]),
        times=run_times(logs),
        environment=environment(root),
    )
