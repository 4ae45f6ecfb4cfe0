"""The paper's tables with this study's value beside the published one.

Every cell is text of fixed format, rows stand in the paper's order with this pipeline's own
rows last, so the same study writes the same bytes.
"""

import re
from collections.abc import Mapping
from math import isnan
from pathlib import Path

import pandas as pd

from wfdm.atomic import atomic_path
from wfdm.config.data import PhantomSource
from wfdm.config.study import Study
from wfdm.data.table import with_split
from wfdm.errors import UserError
from wfdm.evaluation import OVERALL
from wfdm.evaluation.cohort import reasons

BY_MODALITY = {"T1w": 8, "T2w": 9, "T1Gd": 10, "FLAIR": 11}
"""tables of appendix A"""
LATENT, SHORT = ("Compression", "Latent chans"), ("Comp", "Chans")
RANGES = "PSNR, SSIM, MS-SSIM, LPIPS of values clamped to [0, 1], MSE unclamped"
ABSENT = "not in this study"
OWN = "not in the paper"

# The paper's own digits; FID and MMD depend on the feature network's scale, so significant ones.
FORMATS = {"PSNR": ".2f", "SSIM": ".4f", "MS-SSIM": ".4f", "LPIPS": ".4f", "MSE": ".6f"}
SYNTHESIS_FORMATS = {"FID": ".6g", "MMD": ".6g", "MS-SSIM": ".6f", "recognised": ".4f"}


def read_published(folder: Path | str, number: int) -> pd.DataFrame:
    """Read table `number` of the paper from `config/published`, every cell as printed."""
    path = Path(folder) / f"table{number}.csv"
    if not path.is_file():
        raise UserError(
            f"{path}: the paper's table {number} is missing; it is part of the checkout"
        )
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def write_csv(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table or per-scan metrics as CSV, atomically."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def differences(study: Study) -> str:
    """Tell in one line where `study` departs from the paper, for the `note` of its tables."""
    paper = Study.model_validate({})
    told = []
    if any(isinstance(source, PhantomSource) for source in study.sources):
        told.append("phantom cohort, not BrainScape")
    if study.split.rule == "published":
        told.append("divided by the authors' rule, which leaks people (data/leaks.tsv)")
    if (study.volume.shape, study.preprocess.spacing) != (
        paper.volume.shape,
        paper.preprocess.spacing,
    ):
        size = "x".join(map(str, study.volume.shape))
        told.append(f"{size} voxels of {study.preprocess.spacing:g} mm, not 192x224x160 of 1 mm")
    if study.preprocess.extractor != paper.preprocess.extractor:
        told.append(f"brain extraction by {study.preprocess.extractor}, not HD-BET")
    if not all(_as_published(study, paper, part) for part in ("compressors", "generators")):
        told.append("sizes or training of the models are not the paper's")
    if study.evaluation.features.weights is None:
        told.append("features from an untrained stand-in, not MedicalNet")
    return "; ".join(told)


def _as_published(study: Study, paper: Study, part: str) -> bool:
    ours, theirs = getattr(study, part), getattr(paper, part)
    return all(theirs.get(name, settings) == settings for name, settings in ours.items())


def table1(
    scans: pd.DataFrame, splits: pd.DataFrame, published: Path | str, rule: str, note: str = ""
) -> pd.DataFrame:
    """Count scans per modality and split (paper, table 1), with the reason of each difference.

    Args:
        scans: columns scan_id, dataset, subject, modality.
        splits: columns scan_id, person, split.
        published: the folder `config/published`.
        rule: how this study divides people.
        note: how this study differs (`differences`).
    """
    paper = read_published(published, 1)
    joined = with_split(scans[["scan_id", "dataset", "subject", "modality"]], splits)
    why = reasons(joined, paper, rule)
    rows = []
    for row in paper.to_dict("records"):
        name = row["Modality"]
        part = joined if name == "Total" else joined[joined["modality"] == name]
        cells = {"Modality": name}
        for column, split in (
            ("Total", None),
            ("Train", "train"),
            ("Val", "validation"),
            ("Test", "test"),
        ):
            counted = part if split is None else part[part["split"] == split]
            cells |= {column: str(len(counted)), f"{column} published": row[column]}
        cells |= {"reason": why[name], "note": note if len(part) else _join(ABSENT, note)}
        rows.append(cells)
    return pd.DataFrame(rows)


def table3(
    compressors: Mapping[str, Path | str],
    floors: Path | str,
    published: Path | str,
    note: str = "",
    modality: str | None = None,
) -> pd.DataFrame:
    """Reconstruction metrics as plain means over test scans (paper, tables 3 and 8 to 11).

    Args:
        compressors: per-scan CSV of `evaluate_compressor` by the compressor's label.
        floors: per-scan CSV of `mean_volume_rows`.
        published: the folder `config/published`.
        note: how this study differs (`differences`).
        modality: only its scans, beside its table of appendix A; by default all scans, each of
            the same weight, beside table 3.
    """
    number, latent = (BY_MODALITY[modality], LATENT) if modality else (3, SHORT)
    every = {label: pd.read_csv(path) for label, path in compressors.items()}
    every |= {str(name): scans for name, scans in pd.read_csv(floors).groupby("reference")}
    if modality:
        every = {name: scans[scans["modality"] == modality] for name, scans in every.items()}
    ours = [_mean_row(name, scans, latent) for name, scans in every.items()]
    if not any(row["LPIPS"] for row in ours):
        note = _join(note, "LPIPS: not measured, evaluation.lpips is null")
    paper = read_published(published, number)
    pairs = (*latent, "LPIPS", "SSIM", "MS-SSIM", "PSNR", "MSE")
    return _beside(ours, paper, pairs, ("n",), _join(note, RANGES))


def _mean_row(name: str, scans: pd.DataFrame, latent: tuple[str, str]) -> dict[str, str]:
    means = {metric: _text(scans[metric].mean(), style) for metric, style in FORMATS.items()}
    told = {}
    if "channels" in scans and len(scans):
        first = scans.iloc[0]
        told = dict(zip(latent, (str(first["compression"]), str(first["channels"])), strict=True))
    return {"Model": name, **told, **means, "n": str(len(scans))}


def table4(
    generators: Mapping[str, Path | str], published: Path | str, note: str = ""
) -> pd.DataFrame:
    """Synthesis metrics, pooled as the paper pools them (paper, table 4).

    Args:
        generators: CSV of `synthesis_metrics` by the generator's label.
        published: the folder `config/published`.
        note: how this study differs (`differences`).
    """
    extra = ("recognised", "n_real", "n_synthetic", "pairs", "extractor", "extractor_sha256")
    ours = []
    for label, path in generators.items():
        metrics = pd.read_csv(path, keep_default_na=False, na_values=[""])
        overall = metrics[metrics["modality"] == OVERALL].iloc[0]
        made = ", ".join(metrics.loc[metrics["n_synthetic"] > 0, "modality"].drop(overall.name))
        ours.append(
            {
                "Model": label,
                "Output modalities": made,
                **{name: _text(overall[name], style) for name, style in SYNTHESIS_FORMATS.items()},
                **{name: str(overall[name]) for name in extra if name != "recognised"},
                "note": "" if pd.isna(overall["note"]) else overall["note"],
            }
        )
    pairs = ("Output modalities", "FID", "MMD", "MS-SSIM")
    return _beside(ours, read_published(published, 4), pairs, extra, note)


def metrics(tables: Mapping[str, Path | str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return this study's numbers of tables 3 and 4, as DVC compares them between snapshots.

    Args:
        tables: CSV of a finished table by its name.

    Returns:
        table name -> model -> metric -> value, rows of this study only.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, path in tables.items():
        table = pd.read_csv(path)
        paired = (column for column in table if f"{column} published" in table)
        measured = [column for column in paired if column not in SHORT]
        numeric = table[measured].apply(pd.to_numeric, errors="coerce")
        found[name] = {
            model: {metric: float(value) for metric, value in row.dropna().items()}
            for model, (_, row) in zip(table["Model"], numeric.iterrows(), strict=True)
            if row.notna().any()
        }
    return found


def _beside(
    ours: list[dict[str, str]],
    paper: pd.DataFrame,
    pairs: tuple[str, ...],
    extra: tuple[str, ...],
    note: str,
) -> pd.DataFrame:
    """Put rows of this study beside the paper's, matched by model name without its citation.

    Columns: Model; each of `pairs` and its published value; `extra` of this study; what only
    the paper gives; note.
    """
    by_name = {row["Model"]: row for row in ours}
    printed = {_plain(row["Model"]): row for row in paper.to_dict("records")}
    only_paper = [name for name in paper.columns if name not in ("Model", *pairs)]
    rows = []
    for name in (*printed, *(label for label in by_name if label not in printed)):
        mine, theirs = by_name.get(name, {}), printed.get(name, {})
        cells = {"Model": theirs.get("Model", name)}
        for column in pairs:
            cells |= {column: mine.get(column, "")}
            cells |= {f"{column} published": theirs.get(column, "")}
        cells |= {column: mine.get(column, "") for column in extra}
        cells |= {f"{column} published": theirs.get(column, "") for column in only_paper}
        whose = ("" if theirs else OWN, mine.get("note", ""), note)
        rows.append(cells | {"note": _join(*whose) if mine else ABSENT})
    return pd.DataFrame(rows)


def _plain(model: str) -> str:
    """Return a model's name without a trailing citation such as "(Guo et al., 2025)"."""
    return re.sub(r"\s*\([^()]*\d{4}\)$", "", model)


def _text(value: float, style: str) -> str:
    """Format a number; empty where there is none."""
    return "" if isnan(value) else format(value, style)


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
