"""The reasons of table 1: the arithmetic of BRATS, and what is left without it."""

from pathlib import Path

import pandas as pd
import pytest

from wfdm.tables.cohort import reasons
from wfdm.tables.published import read_published

PAPER = read_published(Path(__file__).parents[2] / "config" / "published" / "table1.csv")
PRINTED = PAPER.set_index("key").drop(columns="Modality").astype(int)
SPLITS = {"train": "Train", "validation": "Val", "test": "Test"}
RELEASED = {"train": 1176, "validation": 147, "test": 147}
NAMES = [f"training-{i}" for i in range(1251)] + [f"validation-{i}" for i in range(219)]


def cohort(brats: dict[str, int], more_test: int = 0) -> pd.DataFrame:
    """The paper's cohort; BRATS divided so, and some T1w of the others moved from train to test."""
    parts = []
    for modality in ("T1w", "T2w", "FLAIR", "T1Gd"):
        inside = pd.DataFrame({"subject": NAMES, "dataset": "BRATS"})
        inside["split"] = [split for split, count in brats.items() for _ in range(count)]
        rest = PRINTED.loc[modality] - PRINTED.loc["T1Gd"]
        moved = more_test if modality == "T1w" else 0
        counts = {"train": rest["Train"] - moved, "test": rest["Test"] + moved}
        counts |= {"validation": rest["Val"]}
        others = pd.DataFrame({"split": [s for s, n in counts.items() for _ in range(n)]})
        parts.append(pd.concat([inside, others.assign(dataset="X")]).assign(modality=modality))
    scans = pd.concat(parts, ignore_index=True)
    return scans.assign(person=scans["subject"], subject=scans["subject"].fillna("x"))


def test_the_papers_own_counts_need_no_reason():
    as_printed = {split: int(PRINTED.loc["T1Gd", name]) for split, name in SPLITS.items()}
    found = reasons(cohort(as_printed), PAPER, "published")
    assert found == dict.fromkeys(("T1w", "T2w", "FLAIR", "T1Gd", "Total"), "")


def test_brats_by_the_released_rule():
    found = reasons(cohort(RELEASED, more_test=4), PAPER, "published")
    told = found["T1Gd"]
    assert "BRATS: 1176/147/147 here, 1001/172/297 in the paper" in told
    for step in ("round(0.1 x 1470) = 147 of the 219", "other 72 and 75", "1251 - 75 = 1176"):
        assert step in told
    assert "1001 is round(0.8 x 1251)" in told and "other 469 became 172 + 297" in told
    assert "without BRATS" not in told
    assert "without BRATS: 23510/2864/3121 here, 23514/2864/3117 in the paper" in found["T1w"]
    assert "BRATS: 4704/588/588 here, 4004/688/1188 in the paper" in found["Total"]


def test_patients_are_counted_under_rule_person():
    scans = cohort(RELEASED)
    scans.loc[scans["subject"] == "training-1", "person"] = "training-0"
    assert (
        "1469 patients are divided here, not 1470 records"
        in (reasons(scans, PAPER, "person")["T1Gd"])
    )


@pytest.mark.parametrize("left_out", ["BRATS", "X"])
def test_another_cohort_says_how_large_it_is(left_out):
    scans = cohort(RELEASED)
    told = reasons(scans[scans["dataset"] != left_out], PAPER, "person")
    left = {"BRATS": 6893 - 1470, "X": 1470}[left_out]
    assert told["T2w"] == f"{left} scans in this study, 6893 in the paper's snapshot"
