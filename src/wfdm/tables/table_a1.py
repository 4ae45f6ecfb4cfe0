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
    RECONSTRUCTED,
    UNET,
)
from wfdm.tables.measured import read_measured
from wfdm.tables.text import join, number

FORMATS = {"PSNR": ".2f", "SSIM": ".4f", "MSE": ".6f"}
BOUNDS = {
    NEAREST: "Nearest training session's scan (floor)",
    MEAN: "Mean training volume of the modality (floor)",
    RECONSTRUCTED: "The scan itself through the compressor (ceiling)",
}
UNET_OF = "U-Net on the steps of {} (floor)"
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
    """Return the rows of one target and source set: completions with their U-Nets, then bounds.

    Bounds know no completion: every one that made these scans has the same, so they stand once.
    """
    rows: list[dict[str, str]] = []
    bounds: dict[str, dict[str, str]] = {}
    for key, scans in every.items():
        own = scans[(scans["modality"] == target) & (scans["sources"] == sources)]
        if own.empty:
            continue
        of = {method: own[own["method"] == method] for method in METHODS}
        asked, label = len(of[COMPLETED]), called.get(key, key)
        names = {COMPLETED: label, UNET: UNET_OF.format(label)} | BOUNDS
        found = {
            method: _row(target, sources, name, of[method], asked)
            for method, name in names.items()
            if len(of[method])
        }
        rows += [found.pop(method) for method in (COMPLETED, UNET) if method in found]
        bounds = found | bounds
    return [*rows, *(bounds[method] for method in BOUNDS if method in bounds)]


def _row(target: str, sources: str, name: str, scans: pd.DataFrame, asked: int) -> dict[str, str]:
    row = {"Target": target, "Sources": sources.replace("+", " + "), "Method": name}
    for region, title in NAMES.items():
        for metric, style in FORMATS.items():
            row[title + metric] = number(scans[f"{region} {metric}"].mean(), style)
    row["n"] = str(len(scans))
    row["n lesions"] = str(int(scans[f"{LESION} MSE"].notna().sum()))
    row["note"] = LEFT_OUT if len(scans) < asked else ""
    return row
