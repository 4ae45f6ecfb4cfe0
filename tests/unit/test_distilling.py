"""Distillation for few steps: closed forms, pairs that a seed gives again, and resuming."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.unit.stage_b import LATENT, STATISTICS, cohort, die_at_step, encode_all, train
from wfdm.config.denoisers import DiscreteDiffusionSettings, RectifiedFlowSettings
from wfdm.config.distilled import DistilledTraining
from wfdm.config.generators import SamplerSettings
from wfdm.errors import UserError
from wfdm.evaluation.endpoints import distance
from wfdm.generators import load
from wfdm.generators.latent_diffusion import LatentDiffusion
from wfdm.generators.pairs import draw_pairs, endpoints, requests_of, write_pairs
from wfdm.latents.noise import start_noise
from wfdm.latents.pairs import Pairs
from wfdm.models.denoisers.folder import read_config
from wfdm.processes import rflow
from wfdm.processes.samplers import euler, heun
from wfdm.provenance.digests import sha256_of
from wfdm.training.noising import Noising
from wfdm.training.plan import Job
from wfdm.training.reflow import Reflow, Task, distil

RFLOW = RectifiedFlowSettings(linear_answer=False, reference_voxels=1)  # no time is shifted
A, B = 0.3, 2.0  # data of deviation A about B
SAMPLING = SamplerSettings(sampler="heun", steps=3, batch=2)
COUNT, SHARDS = 12, 2


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    return train(encode_all(root, cohort()), root / "denoisers" / "tiny")


def asked(count: int = COUNT, balance: float = 0.7) -> pd.DataFrame:
    scans = cohort()
    return draw_pairs(scans[scans["split"] == "train"], count, balance, 7, "few")


def paired(teacher: Path, out: Path) -> list[Path]:
    """Write all pairs; return their tables."""
    made = load(teacher, SAMPLING)
    for shard in range(SHARDS):
        write_pairs(made, asked(), 7, shard, SHARDS, out, "identity")
    return sorted(out.glob("*.tsv"))


@pytest.fixture(scope="module")
def tables(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return paired(teacher, tmp_path_factory.mktemp("pairs"))


def task(**changes: object) -> Task:
    training = {"steps": 4, "batch_size": 2, "warmup_steps": 0, "validate_every": 2}
    training |= {"learning_rate": 1e-2, "precision": "32-true", "validation_scans": 4} | changes
    return Task("few", 7, DistilledTraining.model_validate(training))


def student(teacher: Path, tables: list[Path], out: Path, **changes: object) -> Path:
    distil(task(**changes), teacher, tables, Job(out, "identity"))
    return out


# --- closed forms: data N(B, A^2) -----------------------------------------------------------


def of_teacher(x: Tensor, t: float) -> Tensor:
    """E[x0 - noise | x_t] where both are independent: a linear regression."""
    slope = ((1 - t) * A**2 - t) / ((1 - t) ** 2 * A**2 + t**2)
    return B + slope * (x - (1 - t) * B)


def of_student(x: Tensor, t: float) -> Tensor:
    """x0 - noise on the line through x_t where x0 = A noise + B: no two of them cross."""
    return B + (A - 1) * (x - (1 - t) * B) / ((1 - t) * A + t)


def test_straight_pairs_make_one_step_exact() -> None:
    torch.manual_seed(0)
    noise = torch.randn(400, dtype=torch.float64)
    ends = A * noise + B  # the flow of a Gaussian keeps the order of its points
    many = rflow.sampling_times(400, (1, 1, 1, 1), RFLOW)
    torch.testing.assert_close(heun(of_teacher, noise, many), ends, atol=1e-4, rtol=0)
    one = rflow.sampling_times(1, (1, 1, 1, 1), RFLOW)
    torch.testing.assert_close(euler(of_student, noise, one), ends)
    torch.testing.assert_close(euler(of_teacher, noise, one), torch.full_like(noise, B))


def test_only_the_straight_velocity_costs_nothing_on_the_pairs() -> None:
    torch.manual_seed(0)
    noise = torch.randn(400, 1, 1, 1, 1)
    noising, uniform = Noising(RFLOW, (1, 1, 1, 1), "l2"), torch.rand(400)

    def loss(velocity) -> float:
        def answer(x: Tensor, t: Tensor) -> Tensor:
            return velocity(x, t.reshape(-1, 1, 1, 1, 1))

        return float(noising.loss(answer, A * noise + B, uniform, noise))

    assert loss(of_student) < 1e-9
    assert loss(of_teacher) > 0.01


# --- pairs ----------------------------------------------------------------------------------


def test_a_pair_is_the_seeds_noise_and_the_samplers_end(teacher: Path, tables: list[Path]) -> None:
    config, made = read_config(teacher), load(teacher, SAMPLING)
    pairs = Pairs(tables, made.space, STATISTICS, config["noise"], 7)
    assert pairs.names == list(asked()["name"])
    for index, request in enumerate(requests_of(asked())):
        item = pairs.item(index)
        assert torch.equal(item["z"], made.denoise([request], 7)[0].half().float())
        assert torch.equal(item["noise"], start_noise(LATENT, "tiny", request.name, 7))
    told = asked().set_index("name").loc[pairs.names]
    real = cohort().set_index("scan_id").loc[told["scan_id"]]
    assert list(pairs.table["age"]) == list(real["age"])
    assert set(real["split"]) == {"train"}
    assert pairs.modalities == list(real["modality"])


def test_pairs_are_balanced_and_more_of_them_leave_the_first() -> None:
    pd.testing.assert_frame_equal(asked(40).head(10), asked(10))
    scans = cohort()
    fit = scans[scans["split"] == "train"]["modality"].value_counts(normalize=True)
    assert fit["T1w"] == pytest.approx(1 / 3)
    drawn = {
        balance: asked(3000, balance)["modality"].value_counts(normalize=True)["T1w"]
        for balance in (0.0, 1.0)
    }
    assert drawn == pytest.approx({0.0: 1 / 3, 1.0: 1 / 4}, abs=0.03)


def test_cut_off_pairs_end_as_undisturbed_ones(
    teacher: Path, tables: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = LatentDiffusion.denoise, []

    def dies(self, requests, seed):
        calls.append(len(requests))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, requests, seed)

    monkeypatch.setattr(LatentDiffusion, "denoise", dies)
    given = (load(teacher, SAMPLING), asked(), 7, 1, SHARDS, tmp_path, "identity")
    with pytest.raises(KeyboardInterrupt):
        write_pairs(*given)
    write_pairs(*given)
    whole = tables[1]
    of_shard = len(pd.read_csv(whole, sep="\t"))
    assert sum(calls) == of_shard + calls[2], "only what was cut off is made again"
    for suffix in (".tsv", ".npy"):
        again = (tmp_path / whole.name).with_suffix(suffix)
        assert again.read_bytes() == whole.with_suffix(suffix).read_bytes()


def test_a_damaged_array_is_told(teacher: Path, tmp_path: Path) -> None:
    tables = paired(teacher, tmp_path)
    np.save(tables[0].with_suffix(".npy"), np.zeros((3, 2, 2, 2, 2), np.float16))
    with pytest.raises(UserError, match=r"holds latents of \(2, 2, 2, 2\), not of"):
        Reflow(task(), teacher, tables)
    tables[0].with_suffix(".npy").write_bytes(b"")
    with pytest.raises(UserError, match="missing, cut short or damaged"):
        Reflow(task(), teacher, tables)


# --- training -------------------------------------------------------------------------------


def test_an_untrained_student_is_its_teachers_network(tmp_path: Path) -> None:
    """And starts from its noise: a teacher that says all of the velocity ends where it does."""
    latents = encode_all(tmp_path, cohort())
    plain = train(latents, tmp_path / "plain", process=RectifiedFlowSettings(linear_answer=False))
    its_pairs = paired(plain, tmp_path / "pairs")
    made = student(plain, its_pairs, tmp_path / "few", steps=1, learning_rate=1e-12)
    history = pd.read_csv(made / "history.csv").iloc[0]
    assert history["val_loss"] == pytest.approx(history["val_teacher"], rel=1e-6)
    for steps in (1, 2, 4):
        assert history[f"end_{steps}"] == pytest.approx(history[f"teacher_{steps}"], rel=1e-5)
    few = SamplerSettings(steps=2)
    requests = requests_of(asked(3))
    own, its = (endpoints(load(each, few), requests, 7, 2) for each in (made, plain))
    assert distance(own, its) < 1e-5
    assert distance(its, its, draw=1) > 0.1, "another noise ends elsewhere"


def test_a_student_says_what_its_teachers_linear_answer_added_to(
    teacher: Path, tables: list[Path], tmp_path: Path
) -> None:
    """One step of Euler's from z_1 adds the network's output, and nothing of z_1."""
    made = student(teacher, tables, tmp_path, steps=1, learning_rate=1e-12)
    assert read_config(teacher)["process"].linear_answer
    assert not read_config(made)["process"].linear_answer
    requests, once = requests_of(asked(1)), SamplerSettings(steps=1)
    own, its = (load(each, once) for each in (made, teacher))
    noise = start_noise(LATENT, "tiny", requests[0].name, 7)
    torch.testing.assert_close(own.denoise(requests, 7)[0], its.denoise(requests, 7)[0] + noise)


@pytest.mark.parametrize("correlation", [0.0, 0.7, 1.0])
def test_the_best_linear_answer_vanishes_where_ends_are_pairs(correlation: float) -> None:
    """NumPy's least squares on a million pairs of unit variance."""
    rng = np.random.default_rng(0)
    noise, other = rng.standard_normal((2, 1_000_000))
    x0, r = correlation * noise + (1 - correlation**2) ** 0.5 * other, correlation
    for t in (0.0, 0.3, 0.9, 1.0):
        noisy = (1 - t) * x0 + t * noise
        (slope,), *_ = np.linalg.lstsq(noisy[:, None], x0 - noise, rcond=None)
        told = (1 - 2 * t) * (1 - r) / ((1 - t) ** 2 + t**2 + 2 * t * (1 - t) * r)
        assert slope == pytest.approx(told, abs=0.005)


def test_the_history_tells_the_samplers_own_error(
    teacher: Path, tables: list[Path], tmp_path: Path
) -> None:
    """The teacher's columns against the generator's own Euler on the pairs that are held out."""
    history = pd.read_csv(student(teacher, tables, tmp_path, steps=1) / "history.csv").iloc[0]
    objective = Reflow(task(), teacher, tables)
    held = [objective.pairs.names[place] for place in objective.held]
    requests = [each for each in requests_of(asked()) if each.name in held]
    made = load(teacher, SamplerSettings(steps=2))
    apart = []
    for request in requests:
        z = objective.pairs.item(objective.pairs.names.index(request.name))["z"]
        apart.append(float((made.denoise([request], 7)[0] - z).norm() / z.norm()))
    assert history["teacher_2"] == pytest.approx(np.mean(apart), rel=1e-4)
    assert history["teacher_4"] < history["teacher_1"]


def test_it_learns_lines_that_it_never_saw(
    teacher: Path, tables: list[Path], tmp_path: Path
) -> None:
    changes = {"steps": 80, "validate_every": 80, "batch_size": 4, "ema_decay": 0.9}
    made = student(teacher, tables, tmp_path, learning_rate=3e-3, **changes)
    history = pd.read_csv(made / "history.csv").iloc[0]
    assert history["val_loss"] < 0.9 * history["val_teacher"]


def test_a_student_is_a_denoiser_that_names_its_teacher(
    teacher: Path, tables: list[Path], tmp_path: Path
) -> None:
    made, weights = student(teacher, tables, tmp_path), sha256_of(teacher / "model.safetensors")
    config = json.loads((made / "config.json").read_text())
    assert config.pop("teacher") == {"name": "tiny", "sha256": weights}
    its = json.loads((teacher / "config.json").read_text())
    assert config.keys() == its.keys()
    own = ("name", "latent_space", "process")
    assert all(config[key] == its[key] for key in its if key not in own)
    for where in (made, made / "last"):
        generator = load(where, SamplerSettings(steps=1))
        assert (generator.name, generator.noise) == ("few", "tiny")
        assert generator.space.compressor_sha256 == load(teacher, SAMPLING).space.compressor_sha256
    assert sha256_of(teacher / "model.safetensors") == weights


def test_a_cut_off_distillation_ends_as_an_undisturbed_one(
    teacher: Path, tables: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = student(teacher, tables, tmp_path / "whole", steps=6)
    calls = die_at_step(monkeypatch, 4, Reflow)
    with pytest.raises(KeyboardInterrupt):
        student(teacher, tables, tmp_path / "cut", steps=6)
    resumed = student(teacher, tables, tmp_path / "cut", steps=6)
    assert len(calls) == 4 + 4  # steps 1-2 were kept, 3-6 made again
    for name in ("model.safetensors", "history.csv", "config.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_held_out_pairs_are_never_drawn(teacher: Path, tables: list[Path]) -> None:
    objective = Reflow(task(), teacher, tables)
    drawn = {int(place) for place in objective.data.places}
    assert drawn.isdisjoint(objective.held) and len(drawn) + len(objective.held) == COUNT
    with pytest.raises(UserError, match="all 12 pairs are held out"):
        Reflow(task(validation_scans=12), teacher, tables)


def test_another_process_has_no_flow_to_straighten(tables: list[Path], tmp_path: Path) -> None:
    ddpm = DiscreteDiffusionSettings(kind="ddpm")
    other = train(encode_all(tmp_path, cohort()), tmp_path / "ddpm", process=ddpm, steps=1)
    with pytest.raises(UserError, match="is of process ddpm; reflow straightens"):
        Reflow(task(), other, tables)
