"""Splits: by person, deterministic, whatever the order of the rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfdm.config.data import SplitSettings
from wfdm.data.split import check_no_leak, split_people
from wfdm.errors import UserError


def table(rows):
    frame = pd.DataFrame(rows, columns=["dataset", "person", "modality"])
    frame["scan_id"] = [
        f"{r.dataset}/sub-{i}_{r.modality}" for i, r in enumerate(frame.itertuples())
    ]
    return frame


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C"]),
        st.integers(0, 30).map(lambda number: f"person-{number}"),  # shared between datasets
        st.sampled_from(["T1w", "T2w", "T1Gd", "FLAIR"]),
    ),
    min_size=1,
    max_size=120,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_nobody_leaks_and_order_does_not_matter(rows, seed, random):
    scans = table(rows)
    splits = split_people(scans, SplitSettings(), seed)
    assert splits.groupby("person")["split"].nunique().max() == 1
    assert sorted(splits["scan_id"]) == sorted(scans["scan_id"])
    order = list(range(len(scans)))
    random.shuffle(order)
    shuffled = split_people(scans.iloc[order], SplitSettings(), seed)
    pd.testing.assert_frame_equal(splits, shuffled)


def test_shares_of_one_dataset():
    scans = table([("A", f"p{i}", "T1w") for i in range(100)])
    counts = split_people(scans, SplitSettings(), 42)["split"].value_counts()
    assert dict(counts) == {"train": 80, "validation": 10, "test": 10}


def test_rarest_modality_is_divided_too():
    rows = [("A", f"p{i}", "T1w") for i in range(200)] + [("A", f"p{i}", "T1Gd") for i in range(20)]
    scans = table(rows)
    splits = split_people(scans, SplitSettings(), 42).merge(scans[["scan_id", "modality"]])
    rare = splits[splits["modality"] == "T1Gd"]["split"].value_counts()
    assert dict(rare) == {"train": 16, "validation": 2, "test": 2}


def test_seeds_differ():
    scans = table([("A", f"p{i}", "T1w") for i in range(50)])
    first, second = (split_people(scans, SplitSettings(), seed)["split"] for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_a_leak_is_refused():
    leaking = pd.DataFrame(
        {"scan_id": ["a", "b"], "person": ["p", "p"], "split": ["train", "test"]}
    )
    with pytest.raises(UserError, match="p stands in 2 splits"):
        check_no_leak(leaking)


def test_shares_over_one_are_refused():
    with pytest.raises(UserError, match="more than 1"):
        split_people(table([("A", "p", "T1w")]), SplitSettings(train=0.9, validation=0.2), 1)
