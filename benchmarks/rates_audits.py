"""What `benchmarks.rates` measures of the audit of memorisation, at the study's size.

Inputs are written before a row is measured, under FOLDER/audits; latents are those of the row
`latents`. Numbers are random: they change no work but that of ties.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.rates_commands import INPUTS, LATENTS, Rate, by_size, stage
from wfdm.config.memorisation import MemorisationSettings
from wfdm.data.table import write_csv, write_table
from wfdm.evaluation.features import Features, write

FEATURES = 2048
TRAINED = (2, 22)
SCANS = {  # the paper's table 1: validation and test
    "T1w": (3036, 3414), "T2w": (694, 867), "T1Gd": (172, 297), "FLAIR": (673, 815),
}  # fmt: skip


def audit_rates(folder: Path, out: Path) -> Iterator[Rate]:
    """Stages of table A3."""
    at = folder / "audits"
    at.mkdir(exist_ok=True)
    features = at / "features.safetensors"
    yield by_size(
        "neighbours", "training scan", out / "neighbours.csv", TRAINED,
        lambda n, to: stage(
            *("neighbours", "--volumes", at / f"volumes-{n}.tsv", "--splits", at / f"{n}.tsv"),
            *("--latents", folder / f"latents/{LATENTS}/scale.json"),
            *("--own", features, "--fitted", features, "--out", to),
        ),
        before=partial(_searched, folder, at),
    )  # fmt: skip
    block = (*INPUTS, folder, "--time", "neighbours block")
    yield Rate("neighbours block", "64 x 64 pairs", 1, block)
    command = stage(
        *("memorisation", "--real", at / "real.csv", "--samples", at / "samples.csv"),
        *("--out", out / "memorisation.csv"),
    )
    yield Rate("memorisation", "table", 1, command, before=partial(_neighboured, at))


def _searched(folder: Path, at: Path) -> None:
    """Write tables of so many training scans and one of validation, and the features of all."""
    names = [f"A/sub-{number:05d}_T1w" for number in range(LATENTS)]
    for count in TRAINED:
        table = pd.DataFrame({"scan_id": [*names[:count], names[-1]], "modality": "T1w"})
        paths = [str(folder / f"scans/{number % 4}.nii.gz") for number in range(len(table))]
        write_table(table.assign(path=paths, sha256="0"), at / f"volumes-{count}.tsv")
        splits = table[["scan_id"]].assign(person=table["scan_id"])
        splits["split"] = ["train"] * count + ["validation"]
        write_table(splits.assign(leak=""), at / f"{count}.tsv")
    random_features(names, ["T1w"] * LATENTS, 0, at / "features.safetensors")


def random_features(names: list[str], modalities: list[str], seed: int, path: Path) -> None:
    """Write features as the network of the study gives them, of random numbers."""
    values = np.random.default_rng(seed).standard_normal((len(names), FEATURES))
    what = (tuple(names), tuple(modalities), tuple(modalities), "random", "0")
    write(Features({"zscore-volume": values.astype(np.float32)}, *what), path)


def _neighboured(at: Path) -> None:
    """Write the neighbours of all scans of validation and test, and of as many samples as these."""
    random, rows = np.random.default_rng(0), []
    for name, (judged, tested) in SCANS.items():
        splits = ["validation"] * judged + ["test"] * tested
        for space in MemorisationSettings().spaces:
            for number, split in enumerate(splits):
                near = f"A/sub-{random.integers(9000):05d}_{name}", *random.random(2)
                rows.append((f"A/sub-{number:05d}_{name}", name, split, space, *near))
    columns = ["scan_id", "modality", "split", "space", "nearest", "distance", "relative"]
    table = pd.DataFrame(rows, columns=columns)
    write_csv(table, at / "real.csv")
    write_csv(table[table["split"] == "test"].assign(split=""), at / "samples.csv")
