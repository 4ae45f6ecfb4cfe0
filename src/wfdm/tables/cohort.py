"""Why table 1 of this study differs from the paper's, with the arithmetic."""

from collections.abc import Mapping

import pandas as pd

from wfdm.data.published_split import BRATS
from wfdm.data.table import SPLITS, rows_of
from wfdm.tables.published import KEY

PRINTED = {"train": "Train", "validation": "Val", "test": "Test"}
TOTAL = "Total"
"""key of the row of all scans; the other keys are modalities"""
Counts = tuple[int, ...]  # of scans in train, validation, test


def reasons(scans: pd.DataFrame, paper: pd.DataFrame, rule: str) -> dict[str, str]:
    """Return the reason of each row's difference by its key, "" where there is none.

    The paper's T1Gd row is its division of BRATS: the 1,470 records of BRATS hold all of the
    snapshot's T1Gd, and one scan of each other modality. So a row falls into BRATS and the rest.

    Args:
        scans: columns modality, dataset, person, split.
        paper: the published table 1 with its keys, cells as printed.
        rule: how this study divides people (`split.rule`).
    """
    rows = {row[KEY]: row for row in rows_of(paper)}
    brats = _printed(rows["T1Gd"])
    found = {}
    for modality, row in rows.items():
        part = scans if modality == TOTAL else scans[scans["modality"] == modality]
        ours, theirs = _counts(part), _printed(row)
        if ours == theirs:
            found[modality] = ""
        elif len(part) != int(row["Total"]) or BRATS not in set(part["dataset"]):
            found[modality] = (
                f"{len(part)} scans in this study, {row['Total']} in the paper's snapshot"
            )
        else:
            each = 4 if modality == TOTAL else 1  # every record of BRATS has four scans
            inside = part["dataset"] == BRATS
            in_brats = _text(tuple(each * count for count in brats))
            why = _brats(scans, brats, rule) if modality == "T1Gd" else "why: see T1Gd"
            told = [f"BRATS: {_text(_counts(part[inside]))} here, {in_brats} in the paper ({why})"]
            rest = tuple(a - each * b for a, b in zip(theirs, brats, strict=True))
            if any(rest):
                told.append(
                    f"without BRATS: {_text(_counts(part[~inside]))} here, {_text(rest)} in the "
                    f"paper ({_others(rule)})"
                )
            found[modality] = "; ".join(told)
    return found


def _others(rule: str) -> str:
    if rule == "published":
        return "the same rule; whom it draws depends on the order of sets in theirs, our seed here"
    return "shares of people to the nearest, not cut down; one person's ids stay together"


def _brats(scans: pd.DataFrame, paper: Counts, rule: str) -> str:
    """Return why the division of BRATS differs: the arithmetic of the released rule."""
    inside = scans[scans["dataset"] == BRATS]
    records = inside.drop_duplicates("subject")
    total, held = len(records), int(records["subject"].str.lower().str.startswith("val").sum())
    pool, test, validation = total - held, round(0.1 * total), int(0.1 * total)
    needed = validation - (held - test)
    hint = f", {paper[0]} is round(0.8 x {pool})" if round(0.8 * pool) == paper[0] else ""
    told = (
        f"no released rule gives the paper's: the authors' script tests on round(0.1 x {total}) = "
        f"{test} of the {held} validation records, validates on the other {held - test} and "
        f"{needed} training records, trains on {pool} - {needed} = {pool - needed}; of the paper's "
        f"{_text(paper)}{hint}; how the other {total - paper[0]} became {paper[1]} + {paper[2]} "
        "is not told"
    )
    if rule == "published":
        return told
    return f"{inside['person'].nunique()} patients are divided here, not {total} records; {told}"


def _counts(part: pd.DataFrame) -> Counts:
    return tuple(int((part["split"] == split).sum()) for split in SPLITS)


def _printed(row: Mapping[str, str]) -> Counts:
    return tuple(int(row[PRINTED[split]]) for split in SPLITS)


def _text(counts: Counts) -> str:
    return "/".join(map(str, counts))
