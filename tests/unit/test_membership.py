"""Membership inference: the AUC against scikit-learn's, its interval, and planted duplicates."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from tests.unit.stage_b import cohort, encode_all, train
from wfdm.audits.losses import drawn, losses
from wfdm.audits.membership import by_copies, with_interval, within
from wfdm.latents.cache import Latents
from wfdm.latents.standard import Standard
from wfdm.models.denoisers import folder
from wfdm.models.denoisers.conditions import Conditions
from wfdm.processes import rflow
from wfdm.seeds import seed_for, torch_generator

LOSSES = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=12)


def scored(values, modality="T1w", prefix="a"):
    names = [f"{prefix}{place}" for place in range(len(values))]
    return pd.DataFrame(
        {"scan_id": names, "person": names, "modality": modality, "loss": values, "floor": 0.0}
    )


@given(LOSSES, LOSSES)
def test_the_auc_is_that_of_scikit_learn_and_of_scipy(training, unseen):
    labels = [1] * len(training) + [0] * len(unseen)
    found = within(scored(training), scored(unseen))
    assert found == pytest.approx(roc_auc_score(labels, -np.array([*training, *unseen])))
    wins = mannwhitneyu(unseen, training).statistic  # pairs in which the unseen loss is larger
    assert found == pytest.approx(wins / len(training) / len(unseen))


def test_modalities_are_not_compared_with_each_other():
    training = pd.concat([scored([1.0, 2.0], "T1w"), scored([10.0], "T2w")])
    unseen = pd.concat([scored([3.0], "T1w"), scored([9.0, 20.0], "T2w")])
    assert within(training, unseen) == (2 + 1) / 4
    assert np.isnan(within(scored([1.0], "T1w"), scored([2.0], "T2w")))


def test_the_interval_holds_a_half_where_losses_tell_nothing():
    rng = np.random.default_rng(0)
    hits = 0
    for draw in range(40):
        sides = [scored(rng.normal(size=n)) for n in (40, 25)]
        _, low, high = with_interval(*sides, 200, draw, "a")
        hits += low <= 0.5 <= high
    assert hits >= 33  # of 40 at 95 %: fewer has a chance below 0.01


def test_scans_of_one_person_are_one_draw():
    """Copies of each person's scan narrow no interval."""
    rng = np.random.default_rng(1)
    training, unseen = scored(rng.normal(size=20)), scored(rng.normal(size=20) + 0.5)
    often = pd.concat([training] * 5)
    once, five = (with_interval(each, unseen, 300, 3, "a") for each in (training, often))
    assert five[0] == pytest.approx(once[0])
    assert five[2] - five[1] == pytest.approx(once[2] - once[1], rel=0.05)


def test_scans_are_found_by_their_number_of_copies():
    training = scored([0.1, 0.5, 0.9], prefix="t")
    rows = by_copies(training, {"t0": 8}, scored([0.4, 0.6])).set_index("copies")
    assert rows.loc[8, ["n", "found", "AUC"]].tolist() == [1, 1, 1.0]
    assert rows.loc[0, ["n", "found", "AUC"]].tolist() == [2, 0, 0.25]


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    return encode_all(tmp_path_factory.mktemp("membership"), cohort())


def score(denoiser, latents, tmp_path, scans):
    return losses(denoiser, latents, scans, 4, 7, tmp_path / "losses.csv", "identity")


def test_a_scan_s_loss_is_its_own_whatever_stands_beside_it(latents, tmp_path):
    denoiser = train(latents, tmp_path / "denoiser")
    every = score(denoiser, latents, tmp_path, cohort()).set_index("scan_id")["loss"]
    few = score(denoiser, latents, tmp_path, cohort()[::-3]).set_index("scan_id")["loss"]
    assert few.to_dict() == every[few.index].to_dict()
    assert every.nunique() == len(every)


def test_the_loss_is_the_mean_over_times_and_shared_noises(latents, tmp_path):
    """Written out with the process's own functions."""
    denoiser = train(latents, tmp_path / "denoiser", latents="standardised")
    found = score(denoiser, latents, tmp_path, cohort()).set_index("scan_id")[["loss", "floor"]]
    network, config = folder.load(denoiser)
    cache, process = Latents(latents), config["process"]
    scans, space = cohort(), cache.space
    told = Conditions.of(scans["modality"], scans.to_dict("records"), config["statistics"])
    standard = Standard.read(denoiser)
    for place in (0, 7, 11):
        one = told[[place]]
        mean = torch.from_numpy(cache.scaled_mean(scans["scan_id"][place]))[None]
        x0, squares = (mean - standard.mean[one.modality]) / standard.deviation, []
        for time in range(4):
            generator = torch_generator(seed_for(7, "membership", "noise", time))
            noise = torch.randn(space.shape, generator=generator)[None]
            t = rflow.training_times(torch.tensor([(time + 0.5) / 4]), space.shape, process)
            noisy = rflow.noised(x0, noise, t, process)
            answer = rflow.predicted(network(noisy, t, one), noisy, t, process)
            target = rflow.target(x0, noise, t, process)
            nothing = rflow.predicted(torch.zeros_like(noisy), noisy, t, process)
            squares.append([(each - target).square().mean() for each in (answer, nothing)])
        wanted = torch.tensor(squares).mean(0).tolist()
        assert list(found.loc[scans["scan_id"][place]]) == pytest.approx(wanted, rel=1e-5)


def test_one_copy_of_each_scan_trains_the_same_bits(latents, tmp_path):
    folders = [
        train(latents, tmp_path / name, copies=copies)
        for name, copies in (("none", {}), ("one", {1: 3}), ("eight", {8: 3}))
    ]
    none, one, eight = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert none == one != eight


def test_at_most_so_many_scans_are_drawn_by_the_seed():
    few = drawn(cohort(), 5, 1, "a")
    assert len(few) == 5 and few["scan_id"].is_monotonic_increasing
    assert list(drawn(cohort()[::-1], 5, 1, "a")["scan_id"]) == list(few["scan_id"])
    assert len(drawn(cohort(), 50, 1, "a")) == len(cohort())
