"""The 25 fields: order, encoding, missing values, spellings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfdm.data.metadata import encode, load_schema, normalise, statistics_of
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


def test_unknown_spelling_names_scan_field_and_value():
    with pytest.raises(UserError, match=r"X/sub-1_T1w: sex is 'Q'"):
        encode({"scan_id": "X/sub-1_T1w", "sex": "Q"})


@pytest.mark.parametrize(("name", "value"), [("BMI", "0"), ("BMI", "115.6"), ("age", "old")])
def test_implausible_numbers_are_refused(name, value):
    with pytest.raises(UserError, match=f"{name} is"):
        normalise(FIELDS[name], value, "here")


def test_statistics_of_the_training_split():
    ages = [20.0, 30.0, 50.0]
    found = statistics_of([{"age": str(age)} for age in ages] + [{"age": ""}])
    assert found["age"] == pytest.approx((np.mean(ages), np.std(ages)))
    assert found["height"] == (1.699, 0.102)  # never recorded: the published constants
