"""The audit of memorisation: closed forms, known copies, exchangeable scans, planted duplicates."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import hypergeom

from wfdm.audits import memorisation, neighbours
from wfdm.audits.memorisation import (
    audit,
    chances,
    closer,
    found,
    p_value,
    relative_distance,
    together,
)
from wfdm.config.denoisers import DenoiserTraining
from wfdm.data.planting import planted, repeated
from wfdm.errors import UserError
from wfdm.tables import memorised

SMALL = st.integers(0, 6)


def queries(distances, relative, modality="T1w", space="latent", prefix="s"):
    return pd.DataFrame(
        {
            "scan_id": [f"{prefix}{place}" for place in range(len(distances))],
            "modality": modality,
            "split": "",
            "space": space,
            "nearest": "t0",
            "distance": distances,
            "relative": relative,
        }
    )


@given(n=SMALL, m=st.integers(1, 6))
def test_the_chances_are_those_of_all_orders(n, m):
    """Each way to place m test scans among n + m ranks is as likely; the first test scan ends K."""
    orders = list(combinations(range(n + m), m))
    counts = np.bincount([min(order) for order in orders], minlength=n + 1)
    np.testing.assert_allclose(chances(n, m), counts / len(orders), atol=1e-12)


@given(n=st.integers(1, 40), m=st.integers(1, 40))
def test_the_mean_count_is_n_by_m_plus_1_and_its_tail_is_hypergeometric(n, m):
    law = chances(n, m)
    assert np.arange(n + 1) @ law == pytest.approx(n / (m + 1))
    for count in (0, 1, n // 2, n):  # the first `count` of all are no test scans
        tail = hypergeom(n + m, m, count).pmf(0) if count else 1
        assert p_value(count, law) == pytest.approx(tail, abs=1e-12)


def test_the_counts_of_modalities_add_up():
    both = together([chances(3, 2), chances(2, 4)])
    first, second = chances(3, 2), chances(2, 4)
    wanted = sum(first[i] * second[j] for i in range(4) for j in range(3) if i + j >= 3)
    assert p_value(3, both) == pytest.approx(wanted)
    assert both.sum() == pytest.approx(1)


def test_exchangeable_samples_are_flagged_no_more_often_than_p_says():
    rng = np.random.default_rng(0)
    law = chances(20, 10)
    values = [p_value(closer(*np.split(rng.random(30), [20])), law) for _ in range(4000)]
    for level in (0.5, 0.1, 0.05, 0.01):
        share = np.mean(np.array(values) <= level)
        assert share <= level + 4 * np.sqrt(level / len(values))
    assert np.mean(np.array(values) <= 0.05) > 0.01  # and it does not say 1 to everything


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 150), st.integers(1, 5), st.integers(1, 30))
def test_distances_are_those_of_scipy(seed, n, m, size):
    """Queries fill up to three blocks."""
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=(count, size)).astype(np.float32) for count in (n, m))
    b[0] = a[0]  # a copy
    wanted = cdist(a.astype(float), b.astype(float)) / np.sqrt(size)
    np.testing.assert_allclose(neighbours.rms(a, b), wanted, atol=1e-6)


def test_distances_of_volumes_are_taken_where_either_is_above_0():
    a = np.float32([[0, 0, 1, 2]])
    b = np.float32([[0, 3, 1, 0], [0, 0, 0, 0]])
    wanted = [[np.sqrt((9 + 4) / 3), np.sqrt((1 + 4) / 2)]]
    np.testing.assert_allclose(neighbours.rms(a, b, inside=True), wanted)


def test_cubes_are_means_and_leave_out_what_does_not_fit():
    volume = np.arange(5 * 4 * 2, dtype=np.float32).reshape(5, 4, 2)
    made = neighbours.cubes(volume, 2)
    assert made.shape == (2, 2, 1)
    assert made[1, 0, 0] == volume[2:4, 0:2, 0:2].mean()
    np.testing.assert_array_equal(neighbours.cubes(volume, 1), volume)


def test_another_scan_of_the_same_person_is_no_second_neighbour():
    distances = np.array([0.2, 0.1, 0.4])
    assert relative_distance(distances, ["a", "a", "b"]) == (1, 0.1, pytest.approx(0.25))
    place, nearest, relative = relative_distance(distances, ["a", "a", "a"])
    assert (place, nearest) == (1, 0.1) and np.isnan(relative)


def compared(rng, training, made):
    """Neighbours of made and of fresh scans among training scans, all of 50 numbers."""
    vectors = {f"t{n}": row for n, row in enumerate(training)}
    vectors |= {f"s{n}": row for n, row in enumerate(made)}
    vectors |= {f"u{n}": row for n, row in enumerate(rng.normal(size=(12, 50)))}
    vectors = {name: row.astype(np.float32) for name, row in vectors.items()}

    def read(row):
        return vectors[row["scan_id"]]

    names = pd.Series(list(vectors))
    frame = pd.DataFrame({"scan_id": names, "modality": "T1w", "split": "", "person": names})
    by = {letter: frame[names.str.startswith(letter)] for letter in "tsu"}
    how = {"latent": neighbours.Compared(read, read)}
    return [neighbours.nearest(by[letter], by["t"], how) for letter in "su"]


def test_a_copy_is_found_and_a_fresh_scan_is_not():
    rng = np.random.default_rng(1)
    training = rng.normal(size=(30, 50))
    made = rng.normal(size=(10, 50))
    made[3] = training[7] + 0.2 * rng.normal(size=50)
    samples, unseen = compared(rng, training, made)
    row = audit(samples, unseen, 0.8).set_index("modality").loc["All"]
    assert (row["copies"], row["copies_test"]) == (1, 0)
    assert (row["sample"], row["training"]) == ("s3", "t7")
    assert row["by_chance"] == pytest.approx(10 / 13)


def test_a_smooth_volume_is_near_to_everything_and_still_no_copy():
    """The mean is nearer than any scan: the count is fooled, the relative distance is not."""
    rng = np.random.default_rng(2)
    training = rng.normal(size=(30, 50))
    samples, unseen = compared(rng, training, np.repeat(training.mean(0)[None], 10, 0))
    row = audit(samples, unseen, 0.8).set_index("modality").loc["All"]
    assert row["closer"] == 10 and row["p"] < 0.001
    assert row["copies"] == 0


def test_a_modality_is_judged_by_its_own_test_scans():
    samples = pd.concat([queries([0.1], [1.0], "T1w"), queries([0.5], [1.0], "T2w")])
    tests = pd.concat([queries([0.2], [1.0], "T1w"), queries([0.4], [1.0], "T2w")])
    rows = audit(samples, tests, 0.8).set_index("modality")
    assert rows["closer"].to_dict() == {"T1w": 1, "T2w": 0, "All": 1}
    assert rows.loc["T1w", "p"] == 0.5 and rows.loc["All", "p"] == 0.75


def test_a_modality_without_test_scans_counts_nothing():
    rows = audit(queries([0.1], [0.5]), queries([], []), 0.8).set_index("modality")
    assert rows.loc["All", ["closer", "by_chance", "p", "copies"]].tolist() == [0, 0.0, 1.0, 1]


def test_planted_scans_are_counted_by_their_copies():
    asked = queries([0.1, 0.1, 0.1, 0.1], [0.5, 0.5, 0.9, 0.5], prefix="t")
    asked["nearest"] = ["t0", "t1", "t2", "t0"]  # t3 gave back another scan
    rows = found(asked, {"t0": 8, "t1": 8, "t2": 2}, 0.8).set_index("copies")
    assert rows["found"].to_dict() == {0: 0, 2: 0, 8: 2}
    assert rows["n"].to_dict() == {0: 1, 2: 1, 8: 2}


def test_planting_draws_by_seed_and_a_further_group_moves_none():
    scans = pd.Series([f"s{n}" for n in range(20)])
    drawn = planted(scans, {8: 2, 2: 3}, 42, "a")
    assert sorted(drawn.values()) == [2, 2, 2, 8, 8]
    assert planted(scans[::-1], {2: 3, 8: 2}, 42, "a") == drawn
    assert drawn.items() <= planted(scans, {8: 2, 2: 3, 1: 4}, 42, "a").items()
    assert drawn != planted(scans, {8: 2, 2: 3}, 43, "a")
    with pytest.raises(UserError, match="asks for 21 training scans, but there are 20"):
        planted(scans, {2: 21}, 42, "a")


def test_a_planted_scan_stands_there_as_often_as_it_is_said():
    scans = pd.DataFrame({"scan_id": ["a", "b", "c"], "modality": ["T1w", "T2w", "T1w"]})
    rows = repeated(scans, {"b": 3, "c": 1})
    assert rows["scan_id"].tolist() == ["a", "b", "b", "b", "c"]
    pd.testing.assert_frame_equal(repeated(scans, {}), scans)


def test_settings_without_copies_are_what_they_were():
    """So no fingerprint of a training that plants nothing has changed."""
    assert "copies" not in DenoiserTraining().model_dump_json()
    assert "copies" in DenoiserTraining(copies={4: 1}).model_dump_json()


def test_the_tables_read_what_the_audit_writes(tmp_path):
    assert memorised.AUDITED == memorisation.AUDITED
    assert (memorised.EVERY, memorised.LATENT) == (memorisation.EVERY, memorisation.LATENT)
    table = audit(queries([0.1, 0.3], [0.5, 1.0]), queries([0.2], [1.0], prefix="u"), 0.8)
    table.to_csv(tmp_path / "audit.csv", index=False)
    told = memorised.lines({"wfdm": tmp_path / "audit.csv"}, None)
    assert told == {
        "wfdm": "1 of 2 samples are closer to a training scan than any of 1 test scans is "
        "(latent; by chance 1.0), 1 copies"
    }
    assert memorised.lines({"wfdm": tmp_path / "audit.csv"}, "FLAIR") == {}
