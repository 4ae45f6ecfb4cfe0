"""Numbers and flags of every session: what looks odd beside the others of its dataset."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wfdm.data.exclusions import session_of
from wfdm.data.paths import key_of
from wfdm.errors import UserError
from wfdm.provenance.records import read

FEWEST = 8  # sessions of a dataset with one measure; fewer say nothing about what is usual
LOW_IS_BAD = ("similarity", "coverage", "dice")


def collect(
    rows: Iterable[Mapping[str, Any]], records: Mapping[str, Path], logs: Path
) -> pd.DataFrame:
    """Return one row per session: status, numbers, and where its picture and log are.

    Args:
        rows: of the scan table, without what is excluded.
        records: of the preprocessed sessions, by key.
        logs: folder of their logs, laid out as their results are.

    Returns:
        Columns session, dataset, status ("ok" or "failed"), message, picture, log, left_out (keys
        of scans that failed alone), state, start, then one column per measure, empty where it does
        not apply.

    Raises:
        UserError: a session was not preprocessed.
    """
    sessions = {session_of(row): row for row in rows}
    if missing := sorted(set(sessions) - set(records)):
        raise UserError(f"{missing[0]}: not preprocessed, no shard lists it")
    return pd.DataFrame(
        [_numbers(key, sessions[key], records[key], logs) for key in sorted(sessions)]
    )


def _numbers(key: str, row: Mapping[str, Any], record: Path, logs: Path) -> dict[str, Any]:
    results = read(record)["results"]
    folder, prefix = key_of(row)
    found = {
        "session": key,
        "dataset": row["dataset"],
        "status": "failed" if "failed" in results else "ok",
        "message": results.get("failed", ""),
        "picture": "",
        "log": str(logs / folder / f"{prefix}.log"),
    }
    if "failed" in results:
        return found
    lost = results.get("left_out", {})
    found |= {
        "message": "; ".join(lost.values()),
        "left_out": " ".join(f"{key}_{name}" for name in lost),
        "picture": results["picture"],
        "state": results["state"],
        "start": "; ".join(sorted(set(results["start"].values()))),
        "volume mL": results["mask_ml"],
        "dice": results["atlas_dice"],
    }
    for name in results["volumes"]:
        if name in results["similarity"]:
            found[f"similarity {name}"] = results["similarity"][name]
            found[f"coverage {name}"] = results["coverage"][name]
        for percent, value in zip((1, 50, 99), results["foreground"][name], strict=True):
            found[f"p{percent} {name}"] = value
        found[f"voxel mm {name}"] = max(results["voxel_mm"][name])
    return found


def flag(table: pd.DataFrame, z: float) -> pd.DataFrame:
    """Return the table of `collect` with columns flags and worst, the worst session first.

    A measure raises a flag when its robust z-score within the dataset exceeds `z` in
    size; for similarity, coverage and Dice only when it is low. `worst` is the largest such
    z-score, infinite for a session that failed, or one of whose scans did.
    """
    first = ("session", "dataset", "status", "message", "picture", "log", "state", "start")
    measures = [name for name in table.columns if name not in (*first, "left_out")]
    scores = pd.DataFrame(0.0, table.index, measures)
    for name in measures:
        for _, values in table.groupby("dataset")[name]:
            scores.loc[values.index, name] = robust_z(values.to_numpy(float))
        if name.startswith(LOW_IS_BAD):
            scores[name] = (-scores[name]).clip(lower=0)
    scores = scores.abs()
    flags = [
        "; ".join(f"{name} (z {row[name]:.1f})" for name in measures if row[name] > z)
        for _, row in scores.iterrows()
    ]
    worst = scores.max(axis=1) if measures else pd.Series(0.0, table.index)
    worst = worst.where((table["status"] == "ok") & (table["message"] == ""), np.inf)
    flagged = table.assign(flags=flags, worst=worst.round(2))
    order = ["worst", "session"]
    return flagged.sort_values(order, ascending=[False, True], ignore_index=True)


def robust_z(values: np.ndarray) -> np.ndarray:
    """Return (x - median) / (1.4826 MAD), Iglewicz and Hoaglin (1993); 0 for missing values.

    Where more than half of the values are equal, MAD is 0 and 1.2533 times the mean absolute
    deviation takes its place. Fewer than `FEWEST` values give 0: nothing is usual yet.
    """
    known = np.isfinite(values)
    if known.sum() < FEWEST:
        return np.zeros(len(values))
    away = values - np.median(values[known])
    spread = 1.4826 * np.median(np.abs(away[known])) or 1.2533 * np.abs(away[known]).mean()
    return np.where(known, away, 0) / spread if spread else np.zeros(len(values))
