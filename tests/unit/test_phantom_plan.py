"""The plan of a phantom cohort: people, sessions, contrasts and metadata."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.phantoms import source
from wfdm.data.sources import phantom
from wfdm.data.table import check_scans
from wfdm.errors import UserError


@settings(max_examples=25)
@given(
    people=st.integers(1, 30), twice=st.integers(0, 30), share=st.floats(0, 1), seed=st.integers(0)
)
def test_each_contrast_has_its_exact_share(people, twice, share, seed):
    twice = min(twice, people)
    table = phantom.plan(
        source(people=people, second_sessions=twice, modalities={"T2w": share}), seed, "raw"
    )
    one = table[table["dataset"] == "ONE"]
    counts = one["modality"].value_counts()
    assert counts["T1w"] == people + twice
    assert counts.get("T2w", 0) == round(share * (people + twice))
    assert set(counts.index) <= {"T1w", "T2w"}


def test_plan_obeys_the_schema_and_names_files_as_bids_does():
    table = check_scans(phantom.plan(source(), 42, "results/raw"), "plan")
    gd = table[(table["modality"] == "T1Gd") & (table["dataset"] == "ONE")].iloc[0]
    assert gd["path"] == (
        "results/raw/ONE/sub-001/ses-1/anat/sub-001_ses-1_ce-gadolinium_T1w.nii.gz"
    )
    assert set(table.loc[table["dataset"] == "ONE", "session"]) == {"1", "2"}
    assert set(table.loc[table["dataset"] == "TWO", "session"]) == {""}
    assert set(table.loc[table["dataset"] == "ONE", "tumor"]) == {"yes"}
    assert set(table.loc[table["dataset"] == "TWO", "tumor"]) == {""}
    assert table["path"].is_unique


def test_plan_depends_on_the_seed_alone_and_people_do_not_depend_on_each_other():
    table = phantom.plan(source(), 42, "raw")
    assert table.equals(phantom.plan(source(), 42, "raw"))
    assert not table.equals(phantom.plan(source(), 43, "raw"))
    more = phantom.plan(source(people=9, second_sessions=0), 42, "raw")
    for subject in ("001", "006"):
        ages = [t.loc[t["person"] == f"ONE/{subject}", "age"].iloc[0] for t in (table, more)]
        assert ages[0] == ages[1]


def test_metadata_is_sparse_and_true():
    table = phantom.plan(source(people=200, second_sessions=50), 1, "raw")
    first = table[(table["modality"] == "T1w") & (table["session"] == "1")].set_index("subject")
    later = table[(table["modality"] == "T1w") & (table["session"] == "2")].set_index("subject")
    for field, low, high in (("age", 0.75, 0.95), ("sex", 0.8, 0.98), ("BMI", 0.05, 0.25)):
        assert low < (first[field] != "").mean() < high
    recorded = [s for s in later.index if later.loc[s, "age"]]
    gaps = [float(later.loc[s, "age"]) - float(first.loc[s, "age"]) for s in recorded]
    assert gaps == pytest.approx([2.0] * len(recorded), abs=1e-6)
    full = first[(first["BMI"] != "")]
    bmi = full["weight"].astype(float) / full["height"].astype(float) ** 2
    assert full["BMI"].astype(float).to_numpy() == pytest.approx(bmi.to_numpy(), abs=0.4)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": "TWO"}, "twice"),
        ({"name": "A_B"}, "letters and digits"),
        ({"second_sessions": 7}, "second_sessions"),
        ({"modalities": {"T1w": 0.5}}, "T1w"),
    ],
)
def test_plan_refuses_what_cannot_be(changes, word):
    with pytest.raises(UserError, match=word):
        phantom.plan(source(**changes), 42, "raw")
