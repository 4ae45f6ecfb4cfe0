"""What metadata control: planted effects are found, nulls hold zero, readers read what is there."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from tests.unit.stage_b import HAAR
from wfdm.audits.controllability import effects, paired, shuffled, unpaired
from wfdm.audits.readers import auc, of_mask, readings, ridge
from wfdm.config.controllability import ControllabilitySettings
from wfdm.config.denoisers import RectifiedFlowSettings, UNetSettings
from wfdm.config.generators import SamplerSettings
from wfdm.config.study import Study
from wfdm.config.volumes import VolumeSettings
from wfdm.data.volumes import write_nifti
from wfdm.errors import UserError
from wfdm.evaluation import control_columns as c
from wfdm.evaluation.controls import (
    SAMPLES,
    TEST,
    TRAIN,
    asked_for,
    of_fields,
    one_of_each,
    read_controlled,
)
from wfdm.figures.controls import figure_a2
from wfdm.generators.latent_diffusion import untrained
from wfdm.generators.protocol import Request
from wfdm.stages import plan
from wfdm.tables.table_a2 import table_a2

AGES = [20.0, 50.0, 80.0]
SEXES = ["female", "male"]


def planted(slope: float, male: float, draws: int = 10, seed: int = 0) -> pd.DataFrame:
    """Ventricles of 10 mL + slope (mL per year) and of men `male` mL more; noise of 0.5 mL."""
    rng = np.random.default_rng(seed)

    def rows() -> Iterator[dict]:
        for draw in range(draws):
            own = rng.normal(0, 3)  # of the noise that a draw's samples share
            for field, values in (("age", ["", *AGES]), ("sex", ["", *SEXES])):
                for value in values:
                    age = value if field == "age" and value else 50
                    more = male if value == "male" else 0
                    size = 10 + own + slope * age + more + (rng.normal(0, 0.5) if value else 0)
                    text = f"{value:g}" if isinstance(value, float) else value
                    yield {"kind": SAMPLES, "field": field, "value": text, "draw": str(draw)} | {
                        "ventricles": size
                    }
        for kind, n in ((TRAIN, 60), (TEST, 20)):
            for _ in range(n):
                age, sex = rng.uniform(20, 80), SEXES[rng.integers(2)]
                size = 10 + 0.4 * age + 3 * (sex == "male") + rng.normal(0, 2)
                for field, value in (("age", f"{age:g}"), ("sex", sex)):
                    yield {"kind": kind, "field": field, "value": value, "draw": ""} | {
                        "ventricles": size
                    }

    return pd.DataFrame(rows()).assign(
        scan_id=lambda table: [f"s{place}" for place in range(len(table))]
    )


def found(rows: list[dict], of: str) -> dict:
    (row,) = (row for row in rows if row["of"] == of)
    return row


def test_planted_effects_are_found_and_nulls_hold_zero():
    table = planted(slope=0.2, male=5, seed=1)
    age = effects(table, ["ventricles"], "age", AGES, seed=1)
    sex = effects(table, ["ventricles"], "sex", SEXES, seed=1)
    for rows, true, real in ((age, 2.0, 4.0), (sex, 5.0, 3.0)):
        told = found(rows, c.TOLD)
        assert told["low"] < true < told["high"] and told["high"] - told["low"] < 1.2
        assert found(rows, c.TRAIN)["low"] < real < found(rows, c.TRAIN)["high"]
        for null in (c.ALIKE, c.SHUFFLED):
            assert found(rows, null)["low"] < 0 < found(rows, null)["high"]
    assert found(age, c.SHUFFLED)["high"] < 4
    assert {row["unit"] for row in age} == {"mL per decade"}
    assert {row["unit"] for row in sex} == {"mL, male - female"}
    assert found(age, c.TOLD)["n"] == 30 and found(age, c.TRAIN)["n"] == 60
    # The bit: what is told of age 20, 50 and 80 is on average what is not told.
    bit = found(age, c.BIT)
    assert bit["low"] < 0 < bit["high"] and bit["n"] == 10


def test_no_effect_has_an_interval_about_zero_as_often_as_it_says():
    held = []
    for seed in range(200):
        table = planted(slope=0, male=0, draws=6, seed=seed)
        samples = table[(table["kind"] == SAMPLES) & (table["field"] == "age")]
        told = samples[samples["value"] != ""].assign(x=lambda t: t["value"].astype(float))
        _, low, high, _, _ = paired(told, "ventricles")
        held.append(low < 0 < high)
    assert 0.90 <= np.mean(held) <= 0.99  # 190 of 200 wanted; standard deviation 3


def test_a_noise_is_compared_with_itself_alone():
    """What noises differ in by 100 mL leaves no trace in the effect, nor in its interval."""
    table = pd.DataFrame(
        [(str(d), x, 100.0 * d + 2 * x) for d, x in product(range(5), (0.0, 1.0, 4.0))],
        columns=["draw", "x", "y"],
    )
    value, low, high, _, n = paired(table, "y")
    assert value == pytest.approx(2) and high - low == pytest.approx(0, abs=1e-9) and n == 15


def test_shuffling_leaves_what_any_shuffle_gives():
    """The mean of all orders is zero, by symmetry; with one heavy value every slope is known."""
    x, y = pd.Series([0.0, 0, 0, 1]), pd.Series([0.0, 0, 0, 4])
    value, low, high, _, n = shuffled(x, y, 3, "a")
    # The heavy value meets the one with chance 1/4: the slope is 4 then, and -4/3 else.
    assert value == pytest.approx(0, abs=0.25) and n == 4
    assert (low, high) == (pytest.approx(-4 / 3), pytest.approx(4))
    assert unpaired(pd.Series([1.0, 1.0, 1.0]), y[:3])[4] == 3


def test_ridge_is_the_normal_equations_of_the_penalty_it_chose(monkeypatch):
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(20, 4)) * [1, 5, 0.1, 2] + 3, rng.normal(size=(6, 4))
    y = x @ [1, 0.5, -2, 0] + rng.normal(size=20)
    monkeypatch.setattr("wfdm.audits.readers.PENALTIES", np.array([7.0]))
    z, w = ((each - x.mean(0)) / x.std(0) for each in (x, new))
    wanted = y.mean() + w @ np.linalg.solve(z.T @ z + 7 * np.eye(4), z.T @ (y - y.mean()))
    np.testing.assert_allclose(ridge(x, y, new), wanted)


def test_ridge_chooses_the_penalty_that_predicts_who_is_left_out():
    """With pure noise it shrinks to the mean; with a plain relation it reads it."""
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=(40, 30)), rng.normal(size=40)
    assert np.std(ridge(x, noise, rng.normal(size=(50, 30)))) < 0.5
    new = rng.normal(size=(50, 30))
    assert np.corrcoef(ridge(x, 10 * x[:, 0], new), new[:, 0])[0, 1] > 0.9


def test_auc_counts_pairs():
    rng = np.random.default_rng(2)
    read, true = np.round(rng.normal(size=30), 1), rng.integers(0, 2, 30)
    pairs = [(a > b) + 0.5 * (a == b) for a, b in product(read[true == 1], read[true == 0])]
    assert auc(read, true) == pytest.approx(np.mean(pairs))
    assert np.isnan(auc(read, np.ones(30)))


def test_readers_see_what_was_asked_for_and_nothing_in_shuffled_values():
    """Features hold the age of whoever they are of, among twenty that hold nothing."""
    table = planted(0.2, 5)
    table = table[table["field"] == "age"].reset_index(drop=True)
    rng = np.random.default_rng(0)
    ages = pd.to_numeric(table["value"]).fillna(50).to_numpy()
    features = np.column_stack(
        [ages + rng.normal(0, 2, len(ages)), rng.normal(size=(len(ages), 20))]
    )
    rows = readings(table, features, "age", AGES, seed=0)
    errors = {row["of"]: row for row in rows if "error" in row["quantity"]}
    for of in (c.READ, c.CEILING, c.BACK):
        assert errors[of]["value"] < 4 and errors[of]["low"] <= errors[of]["value"]
    for of in (c.MIXED, c.GUESS):
        assert errors[of]["value"] > 10
    assert errors[c.MIXED]["low"] > errors[c.CEILING]["high"]
    slopes = {row["of"]: row["value"] for row in rows if "slope" in row["quantity"]}
    assert slopes[c.READ] == pytest.approx(1, abs=0.1) and slopes[c.GUESS] == pytest.approx(0)
    assert (
        readings(table[table["kind"] != TEST], features[table["kind"] != TEST], "age", AGES, 0)
        == []
    )


def test_bits_tell_the_dataset_where_each_records_other_fields():
    bits = np.zeros((30, 25), bool)
    bits[:10, 0] = bits[10:, 1] = True
    datasets, test = ["A"] * 10 + ["B"] * 20, np.arange(30) % 5 == 0
    nearest, largest = of_mask(bits, datasets, test)
    assert nearest["value"] == 1 and nearest["n"] == 6
    assert largest["value"] == pytest.approx(4 / 6) and largest["low"] < 4 / 6 < largest["high"]
    same, floor = of_mask(np.ones((30, 25), bool), datasets, test)
    assert same["value"] == floor["value"]


def test_a_noise_without_the_field_is_one_volume_and_with_it_another_for_each_value():
    """To the last bit: what is not told, by any spelling of it, changes nothing."""
    network = UNetSettings(kind="unet", channels=[32, 32], attention=[False, False], norm_groups=4)
    network = network.model_copy(update={"res_blocks": 1, "metadata_width": 8, "maps": ["age"]})
    generator = untrained(
        "x", SamplerSettings(steps=2), network, RectifiedFlowSettings(kind="rflow"), HAAR, (16,) * 3
    )
    torch.nn.init.normal_(generator.denoiser.maps.maps)
    told = [{}, {"age": ""}, {"age": "n/a"}, {"age": "20"}, {"age": "80"}]
    requests = [Request("controllability 0", "T1w", {"sex": "male", **each}) for each in told]
    volumes = [sample.volume for sample in generator.sample(requests, seed=1)]
    assert np.array_equal(volumes[0], volumes[1]) and np.array_equal(volumes[0], volumes[2])
    assert not np.array_equal(volumes[0], volumes[3])
    assert not np.array_equal(volumes[3], volumes[4])


def people() -> pd.DataFrame:
    rows = [("a", "p1", "30", "male"), ("b", "p1", "31", "male"), ("c", "p2", "70", "")]
    return pd.DataFrame(rows, columns=["scan_id", "person", "age", "sex"])


def test_only_the_field_that_is_asked_for_differs_within_a_noise():
    asked = [*asked_for({"age": [20.0, 80.0], "sex": SEXES}, people(), 3, seed=0)]
    assert len(asked) == 3 * (3 + 3)
    for draw, field in product(range(3), ("age", "sex")):
        own = [each for each in asked if each.draw == draw and each.field == field]
        assert [each.metadata.get(field, "") for each in own] == [each.value for each in own]
        others = [{k: v for k, v in each.metadata.items() if k != field} for each in own]
        assert others == [others[0]] * 3
    assert {each.metadata.get("sex") for each in asked if each.field == "age"} == {"male", None}


def test_each_person_counts_once():
    assert list(one_of_each(people(), 5, seed=0)["person"].sort_values()) == ["p1", "p2"]
    assert len(one_of_each(people(), 1, seed=0)) == 1


def test_the_table_has_real_scans_once_and_the_figure_shows_every_value(tmp_path):
    table = planted(0.2, 5)
    rows = [*effects(table, ["ventricles"], "age", AGES, 1)]
    rows += [*of_mask(np.eye(6, 25, dtype=bool), list("AABBAB"), np.arange(6) > 3)]
    for name, more in (("one", 0.0), ("two", 0.5)):
        copy = pd.DataFrame(rows, columns=[*c.COLUMNS])
        copy["value"] += np.where(copy["of"].isin([c.TOLD, c.BIT, c.ALIKE]), more, 0)
        copy.to_csv(tmp_path / f"{name}.csv", index=False)
    made = table_a2({k: tmp_path / f"{k}.csv" for k in ("one", "two")}, {"one": "A", "two": "B"})
    assert list(made["Scans"]).count("Real test scans") == 1
    assert {"A, told", "B, told", "Nearest pattern of recorded bits"} <= set(made["Scans"])
    assert made.loc[made["Scans"] == "A, told", "n"].item() == "30"
    volume = tmp_path / "v.nii.gz"
    write_nifti(volume, np.random.default_rng(0).random((48, 48, 48), np.float32), np.eye(4))
    drawn = table.assign(path=str(volume))
    files = figure_a2(
        drawn,
        {"age": AGES, "sex": SEXES},
        ["ventricles"],
        VolumeSettings(shape=(48, 48, 48)),
        tmp_path / "a2",
        50,
    )
    assert all(path.stat().st_size > 5000 for path in files)


def test_measures_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(
        "scan_id,kind,field,value,draw,path,brain\nx,train,,,,p,1.5\ny,samples,age,20,0,q,2\n"
    )
    table, measures = read_controlled(path)
    assert measures == ["brain"] and list(table["brain"]) == [1.5, 2]
    scans = pd.DataFrame([("x", "33", "")], columns=["scan_id", "age", "sex"])
    both = of_fields(table, scans, ["age", "sex"])
    assert list(zip(both["scan_id"], both["field"], both["value"], strict=True)) == [
        ("y", "age", "20"),
        ("x", "age", "33"),
        ("x", "sex", ""),
    ]
    path.write_text("a\n1\n")
    with pytest.raises(UserError, match="no column 'scan_id'"):
        read_controlled(path)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"nope": [1, 2]}, "no metadata field 'nope'"),
        ({"age": [20, 20]}, "age: each value must say something, and another thing"),
        ({"sex": ["female", "n/a"]}, "sex: each value must say something"),
        ({"sex": ["female", "mala"]}, "sex is in no known spelling"),
    ],
)
def test_values_that_cannot_be_asked_for_are_refused_before_anything_runs(fields, told):
    asked = {"wfdm": ControllabilitySettings(fields=fields)}
    with pytest.raises(UserError, match=told):
        plan.checked(Study().model_copy(update={"controllability": asked}))
