"""Table A1: completed scans by what is made and what it is made from, beside the floors."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from wfdm.data.table import MODALITIES
from wfdm.evaluation.completion_columns import (
    BRAIN,
    COLUMNS,
    COMPLETED,
    LESION,
    MEAN,
    METHODS,
    NEAREST,
)
from wfdm.tables.measured import read_measured
from wfdm.tables.text import join, number

FORMATS = {"PSNR": ".2f", "SSIM": ".4f", "MSE": ".6f"}
FLOORS = {
    NEAREST: "Nearest training session's scan (floor)",
    MEAN: "Mean training volume of the modality (floor)",
}
NAMES = {region: f"{region.capitalize()} " for region in (BRAIN, LESION)}
MEASURED = "PSNR, SSIM and MSE inside the brain and inside lesions; means over test scans"
LEFT_OUT = "the training split has none for some of these scans"


def table_a1(
    completions: Mapping[str, Path | str], labels: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return the means of each target and source set, the floors below the completions.

    Args:
        completions: per-scan CSV of `evaluation.completion.score` by the completion's key.
        labels: what a completion is called in the table, by its key; by default its key.

    Raises:
        UserError: a file cannot be read.
    """
    called = dict(labels or {})
    every = {key: read_measured(path, COLUMNS) for key, path in completions.items()}
    rows = []
    for target in MODALITIES:
        for sources in _source_sets(every, target):
            rows += _rows(every, target, sources, called)
    table = pd.DataFrame(rows).fillna("")
    table["note"] = [join(each, MEASURED) for each in table["note"]]
    return table


def _source_sets(every: Mapping[str, pd.DataFrame], target: str) -> list[str]:
    """Return what a target is made from, the smallest sets first, in the order of modalities."""
    found = {
        sources
        for scans in every.values()
        for sources in scans.loc[scans["modality"] == target, "sources"]
    }

    def order(sources: str) -> tuple[int, list[int]]:
        names = sources.split("+")
        return len(names), [MODALITIES.index(name) for name in names]

    return sorted(found, key=order)


def _rows(
    every: Mapping[str, pd.DataFrame], target: str, sources: str, called: Mapping[str, str]
) -> list[dict[str, str]]:
    """Return the rows of one target and source set: each completion, then the floors, once."""
    rows: list[dict[str, str]] = []
    floors: dict[str, dict[str, str]] = {}
    for key, scans in every.items():
        own = scans[(scans["modality"] == target) & (scans["sources"] == sources)]
        if own.empty:
            continue
        of = {method: own[own["method"] == method] for method in METHODS}
        asked = len(of[COMPLETED])
        rows.append(_row(target, sources, called.get(key, key), of[COMPLETED], asked))
        for method, name in FLOORS.items():
            # The floors know no completion: every one that made these scans has the same.
            if len(of[method]) and method not in floors:
                floors[method] = _row(target, sources, name, of[method], asked)
    return [*rows, *(floors[method] for method in FLOORS if method in floors)]


def _row(target: str, sources: str, name: str, scans: pd.DataFrame, asked: int) -> dict[str, str]:
    row = {"Target": target, "Sources": sources.replace("+", " + "), "Method": name}
    for region, title in NAMES.items():
        for metric, style in FORMATS.items():
            row[title + metric] = number(scans[f"{region} {metric}"].mean(), style)
    row["n"] = str(len(scans))
    row["n lesions"] = str(int(scans[f"{LESION} MSE"].notna().sum()))
    row["note"] = LEFT_OUT if len(scans) < asked else ""
    return row
