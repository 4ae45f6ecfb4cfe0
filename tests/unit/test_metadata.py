"""The 25 fields: order, encoding, missing values, spellings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfdm.data.metadata import (
    ImplausibleValueError,
    age_group_of,
    canonical,
    decode,
    encode,
    load_schema,
    statistics_of,
)
from wfdm.errors import UserError

FIELDS = {field.name: field for field in load_schema().fields}


def test_the_papers_order_and_kinds():
    names = load_schema().names
    assert names[:4] == ("age", "height", "weight", "BMI")
    assert names[10] == "stroke"
    assert names[-1] == "ASD"
    kinds = [field.kind for field in FIELDS.values()]
    assert (kinds.count("numeric"), kinds.count("category"), kinds.count("yes_no")) == (4, 6, 15)


def test_raw_width_of_the_authors_encoder_is_106():
    embedded = sum(field.embedding for field in FIELDS.values())
    assert 4 + embedded + 25 == 106


def test_published_statistics_are_the_default():
    values, recorded = encode({"age": "27.318", "sex": "F", "tumor": "Y"})
    assert values[0] == 0 and recorded[0] == 1  # the mean age is z = 0, but it is recorded
    assert values[5] == 2  # other 1, female 2, male 3
    assert values[19] == 2  # n/a 0, no 1, yes 2
    assert recorded.sum() == 3


@pytest.mark.parametrize("missing", ["", "n/a", "N/A", None, "nan"])
def test_missing_is_not_no(missing):
    values, recorded = encode({"tumor": missing})
    assert recorded.sum() == 0 and values.sum() == 0
    assert encode({"tumor": "N"})[0][19] == 1


CODED = [field for field in FIELDS.values() if field.kind != "numeric"]


@given(st.sampled_from(CODED), st.data())
def test_every_category_round_trips(field, data):
    value = data.draw(st.sampled_from(field.values))
    values, recorded = encode({field.name: value})
    position = load_schema().names.index(field.name)
    assert field.values[int(values[position]) - 1] == value
    assert recorded[position] == 1


@given(st.floats(0, 120), st.floats(1, 100), st.floats(0.5, 30))
def test_numbers_round_trip(age, mean, deviation):
    statistics = {name: (mean, deviation) for name in ("age", "height", "weight", "BMI")}
    values, _ = encode({"age": repr(age)}, statistics)
    assert values[0] * deviation + mean == pytest.approx(age, abs=1e-3)


def test_unknown_spelling_names_scan_and_field():
    with pytest.raises(UserError, match="X/sub-1_T1w: sex is in no known spelling"):
        encode({"scan_id": "X/sub-1_T1w", "sex": "Q"})


@pytest.mark.parametrize("value", ["0", "80.9", "115.6"])
def test_implausible_numbers_are_refused(value):
    with pytest.raises(ImplausibleValueError, match="BMI is"):
        canonical(FIELDS["BMI"], value, "here")


def test_a_word_is_no_number():
    with pytest.raises(UserError, match="age is not a number"):
        canonical(FIELDS["age"], "old", "here")


# Every raw spelling that BrainScape's lists hold, by field.
SPELLINGS = {
    "sex": {
        "female": "F f female Female FEMALE 0 Woman",
        "male": "M m male Male MALE 1 Man",
        "other": "2 O o other",
        "": "U n/a",
    },
    "handedness": {
        "R": "R r right Right RIGHT",
        "L": "L l left",
        "A": "A ambidextrous Ambidextrous Ambi",
    },
    "race": {code: code for code in "12345678"},
    "education": {level: level for level in ("low", "medium", "high")},
    "tumor": {"yes": "Y y yes", "no": "N n no"},
    # HCP1200's, IDEAS's, MPLMBB's and PSED's bins
    "age_group": {
        "10-15": "11-15",
        "15-20": "16-20",
        "20-25": "22-25 20-24 20-25",
        "25-30": "26-30 25-29 25-30",
        "30-35": "31-35",
        "35-40": "36-40",
    },
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_raw_spellings(name):
    for wanted, spellings in SPELLINGS[name].items():
        for raw in spellings.split():
            assert canonical(FIELDS[name], raw, "here") == wanted


@pytest.mark.parametrize("raw", ["20-40", "20", "30-25", "101-104", "old"])
def test_age_groups_that_no_bin_holds(raw):
    with pytest.raises(UserError, match="scan x: age_group is in no known spelling") as told:
        canonical(FIELDS["age_group"], raw, "scan x")
    assert f"'{raw}'" not in str(told.value), "what is recorded of a person stays out of messages"


@pytest.mark.parametrize(
    ("age", "group"),
    [("0", "0-5"), ("4.99", "0-5"), ("5", "5-10"), ("100", "95-100"), ("101", ""), ("", "")],
)
def test_age_groups_are_half_open_and_the_last_is_closed(age, group):
    assert age_group_of(age) == group


RECORDS = st.fixed_dictionaries(
    {},
    optional={
        field.name: st.sampled_from(field.values)
        if field.values
        else st.floats(*field.range).map(lambda number: f"{number:.6g}")
        for field in FIELDS.values()
    },
)


@given(RECORDS)
def test_every_field_round_trips(record):
    values, recorded = encode(record)
    again = decode(values, recorded)
    assert set(again) == set(record)
    assert recorded.sum() == len(record)
    for name, text in record.items():
        if FIELDS[name].values:
            assert again[name] == text
        else:
            assert float(again[name]) == pytest.approx(float(text), abs=2e-5)


def test_statistics_of_the_training_split():
    ages = [20.0, 30.0, 50.0]
    found = statistics_of([{"age": str(age)} for age in ages] + [{"age": ""}])
    assert found["age"] == pytest.approx((np.mean(ages), np.std(ages)))
    assert found["height"] == (1.699, 0.102)  # never recorded: the published constants
