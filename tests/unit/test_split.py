"""Splits: by person or as published, deterministic, whatever the order of the rows."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from wfdm.config.cohort import SplitSettings
from wfdm.data.split import divide, leaks
from wfdm.data.split_table import check_no_leak, read_splits
from wfdm.data.table import write_table
from wfdm.errors import UserError

PUBLISHED = SplitSettings(rule="published")


def table(rows):
    frame = pd.DataFrame(rows, columns=["dataset", "person", "modality"])
    frame["subject"] = frame["person"]
    frame["scan_id"] = [
        f"{r.dataset}/sub-{i}_{r.modality}" for i, r in enumerate(frame.itertuples())
    ]
    return frame


def counts(splits):
    return splits["split"].value_counts().to_dict()


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C"]),
        st.integers(0, 30).map(lambda number: f"person-{number}"),  # shared between datasets
        st.sampled_from(["T1w", "T2w", "T1Gd", "FLAIR"]),
    ),
    min_size=1,
    max_size=120,
)


@settings(max_examples=60)
@given(ROWS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_nobody_leaks_and_order_does_not_matter(rows, seed, random):
    scans = table(rows)
    order = list(range(len(scans)))
    random.shuffle(order)
    for rule in (SplitSettings(), PUBLISHED):
        splits = divide(scans, rule, seed)
        assert sorted(splits["scan_id"]) == sorted(scans["scan_id"])
        pd.testing.assert_frame_equal(splits, divide(scans.iloc[order], rule, seed))
        per_person = splits.groupby("person")["split"].nunique()
        leaking = set(per_person[per_person > 1].index)
        assert set(leaks(scans, splits)["person"]) == leaking
        assert rule is PUBLISHED or not leaking


def test_shares_of_one_dataset():
    scans = table([("A", f"p{i}", "T1w") for i in range(100)])
    assert counts(divide(scans, SplitSettings(), 42)) == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }


def test_rarest_modality_is_divided_too():
    rows = [("A", f"p{i}", "T1w") for i in range(200)] + [("A", f"p{i}", "T1Gd") for i in range(20)]
    scans = table(rows)
    splits = divide(scans, SplitSettings(), 42).merge(scans[["scan_id", "modality"]])
    rare = splits[splits["modality"] == "T1Gd"]
    assert counts(rare) == {"train": 16, "validation": 2, "test": 2}


def test_people_of_an_earlier_dataset_count():
    rows = [("A", f"p{i}", "T1w") for i in range(100)] + [("B", f"p{i}", "T1w") for i in range(60)]
    splits = divide(table(rows), SplitSettings(), 42).drop_duplicates("person")
    assert counts(splits) == {"train": 80, "validation": 10, "test": 10}


def test_strata_are_divided_evenly():
    scans = table([("A", f"p{i}", "T1w") for i in range(100)])
    scans["sex"] = ["female" if i < 30 else "male" for i in range(100)]
    scans["age_group"] = ""
    settings = SplitSettings(stratify=["sex", "age_group"])
    for seed in range(5):
        splits = divide(scans, settings, seed).merge(scans[["scan_id", "sex"]])
        per_split = pd.crosstab(splits["sex"], splits["split"]).loc["female"]
        assert per_split["train"] == pytest.approx(24, abs=1)
        assert per_split[["validation", "test"]].to_numpy() == pytest.approx(3, abs=1)
    with pytest.raises(UserError, match=r"split\.stratify: 'age' is no category field"):
        divide(scans, SplitSettings(stratify=["age"]), 1)


def test_seeds_differ():
    scans = table([("A", f"p{i}", "T1w") for i in range(50)])
    for rule in (SplitSettings(), PUBLISHED):
        first, second = (divide(scans, rule, seed)["split"] for seed in (1, 2))
        assert not np.array_equal(first, second)


def test_a_leak_is_refused_unless_it_is_marked():
    leaking = pd.DataFrame(
        {"scan_id": ["a", "b"], "person": ["p", "p"], "split": ["train", "test"], "leak": ""}
    )
    with pytest.raises(UserError, match="p is in 2 splits"):
        check_no_leak(leaking)
    check_no_leak(leaking.assign(leak="yes"))


def test_a_split_file_that_was_edited_is_refused(tmp_path):
    scans = table([("A", f"p{i}", m) for i in range(20) for m in ("T1w", "T2w")])
    splits = divide(scans, SplitSettings(), 1)
    write_table(splits, tmp_path / "splits.tsv")
    pd.testing.assert_frame_equal(read_splits(tmp_path / "splits.tsv"), splits)
    moved = splits.copy()
    moved.loc[0, "split"] = next(s for s in ("train", "test") if s != moved.loc[0, "split"])
    write_table(moved, tmp_path / "splits.tsv")
    with pytest.raises(UserError, match="is in 2 splits"):
        read_splits(tmp_path / "splits.tsv")


@pytest.mark.parametrize(
    "wrong",
    [
        {"train": 0.9, "validation": 0.2},
        {"rule": "published", "stratify": ["sex"]},
        {"file": "x.tsv", "stratify": ["sex"]},
    ],
)
def test_settings_that_contradict_each_other(wrong):
    with pytest.raises(ValidationError, match=r"more than 1|stratify works with"):
        SplitSettings(**wrong)


def subjects(names, modalities=("T1w",), dataset="A"):
    return table([(dataset, name, m) for name in names for m in modalities])


def test_published_rule_cuts_down_and_tests_on_the_rest():
    splits = divide(subjects([f"p{i}" for i in range(19)]), PUBLISHED, 1)
    assert counts(splits) == {"train": 15, "validation": 1, "test": 3}  # floor(15.2), floor(1.9)


def test_published_rule_takes_a_subject_in_any_case_for_one():
    splits = divide(subjects(["Sub1", "sub1", *(f"p{i}" for i in range(30))]), PUBLISHED, 1)
    assert splits[splits["person"].str.lower() == "sub1"]["split"].nunique() == 1


def brats():
    """1,251 training and 219 validation records of 1,332 patients, 138 of them with two."""
    names = [f"training-BraTS-GLI-{i:05d}-000" for i in range(1133)]
    names += [f"training-BraTS-GLI-{i:05d}-001" for i in range(118)]
    names += [f"validation-BraTS-GLI-{i:05d}-000" for i in range(2000, 2199)]
    names += [f"validation-BraTS-GLI-{i:05d}-001" for i in range(2000, 2020)]
    scans = subjects(names, dataset="BRATS")
    return scans.assign(person=scans["subject"].str[:-4])


def test_published_rule_divides_brats_by_record():
    """1,176/147/147 as BrainScape's script, which the paper's 1,001/172/297 is not."""
    scans = brats()
    splits = divide(scans, PUBLISHED, 42).merge(scans[["scan_id", "subject"]])
    assert counts(splits) == {"train": 1176, "validation": 147, "test": 147}
    assert splits.loc[splits["split"] == "test", "subject"].str.startswith("validation").all()
    assert 0 < len(leaks(scans, splits)) < 138


def test_rule_person_keeps_time_points_together():
    splits = divide(brats(), SplitSettings(), 42)
    assert splits["person"].nunique() == 1332
    assert splits.groupby("person")["split"].nunique().max() == 1


def test_published_rule_needs_the_validation_records():
    with pytest.raises(UserError, match="rule 'published' tests on 10 records of BRATS"):
        divide(subjects([f"training-{i}" for i in range(100)], dataset="BRATS"), PUBLISHED, 1)


def test_a_frozen_file_divides(tmp_path):
    scans = table([("A", f"p{i}", "T1w") for i in range(30)])
    first = divide(scans, SplitSettings(), 1)
    write_table(first, tmp_path / "frozen.tsv")
    frozen = SplitSettings(file=str(tmp_path / "frozen.tsv"))
    pd.testing.assert_frame_equal(divide(scans, frozen, 2), first)
    more = table([("A", f"p{i}", "T1w") for i in range(31)])
    with pytest.raises(UserError, match="says nothing about A/sub-30_T1w and 0 more"):
        divide(more, frozen, 2)


def test_a_frozen_file_that_leaks_is_refused_or_reported(tmp_path):
    scans = table([("A", "p", "T1w"), ("B", "p", "T1w"), ("A", "q", "T1w")])
    frozen = scans[["scan_id"]].assign(split=["train", "test", "validation"])
    write_table(frozen, tmp_path / "frozen.tsv")
    path = str(tmp_path / "frozen.tsv")
    with pytest.raises(UserError, match="p is in 2 splits"):
        divide(scans, SplitSettings(file=path), 1)
    splits = divide(scans, SplitSettings(rule="published", file=path), 1)
    assert leaks(scans, splits).iloc[0].to_dict() == {
        "person": "p",
        "subjects": "A/p B/p",
        "splits": "train test",
        "scans": "2",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\n1\t2\n", "no columns scan_id and split"),
        ("scan_id\tsplit\nA/sub-0_T1w\tholdout\n", "unknown split 'holdout'"),
    ],
)
def test_a_frozen_file_of_another_form(tmp_path, content, message):
    (tmp_path / "x.tsv").write_text(content)
    with pytest.raises(UserError, match=message):
        divide(table([("A", "p", "T1w")]), SplitSettings(file=str(tmp_path / "x.tsv")), 1)


def test_the_split_of_an_export_is_a_frozen_file(tmp_path):
    entry = {"dataset": "A", "session": "", "type": "anat", "group": 0}
    content = {
        part: [entry | {"subject": f"sub-{i}", "preprocessed": {"t1w": "x", "t1ce": "y"}}]
        for i, part in enumerate(("train", "val", "test"))
    }
    (tmp_path / "export.json").write_text(json.dumps(content))
    scans = pd.DataFrame(
        {
            "scan_id": [f"A/sub-{i}_{m}" for i in range(3) for m in ("T1w", "T1Gd")],
            "person": [f"A/{i}" for i in range(3) for _ in range(2)],
        }
    )
    splits = divide(scans, SplitSettings(file=str(tmp_path / "export.json")), 1)
    found = dict(zip(splits["scan_id"], splits["split"], strict=True))
    assert found == {
        f"A/sub-{i}_{m}": split
        for i, split in enumerate(("train", "validation", "test"))
        for m in ("T1w", "T1Gd")
    }
