"""Training of stage B: draws, average, losses and resuming against independent arithmetic."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.schedulers import DDPMScheduler

from tests.unit.stage_b import LATENT, STATISTICS, cohort, die_at_step, encode_all, training_task
from tests.unit.stage_b import train as trained
from wfdm.config.denoisers import DiscreteDiffusionSettings, RectifiedFlowSettings
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.latents.moments import Moments
from wfdm.latents.standard import Standard
from wfdm.models.denoisers.folder import load, read_config
from wfdm.seeds import seed_for, torch_generator
from wfdm.training import ema
from wfdm.training.conditioned import BalancedDraws, balanced_weights
from wfdm.training.denoiser import StageB, train_denoiser
from wfdm.training.plan import Job

PAPER_TRAINING_COUNTS = [24515, 5332, 1001, 5064]  # table 1: T1w, T2w, T1Gd, FLAIR


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode_all(tmp_path_factory.mktemp("latents"), cohort())


def validation_losses(folder: Path) -> list[float]:
    with open(folder / "history.csv", newline="") as file:
        return [float(row["val_loss"]) for row in csv.DictReader(file)]


# --- balanced draws -------------------------------------------------------------------------


def test_papers_counts_give_the_published_shares() -> None:
    modalities = np.repeat(range(4), PAPER_TRAINING_COUNTS)
    shares = np.bincount(modalities, balanced_weights(modalities, 0.7))
    np.testing.assert_allclose(shares, [0.379, 0.240, 0.145, 0.236], atol=5e-4)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.floats(0, 1))
def test_shares_are_a_power_of_the_counts(modalities: list[int], balance: float) -> None:
    codes = np.array(modalities)
    shares = np.bincount(codes, balanced_weights(codes, balance))
    counts = np.bincount(codes).astype(float)
    powers = np.where(counts > 0, np.maximum(counts, 1) ** (1 - balance), 0)
    np.testing.assert_allclose(shares, powers / powers.sum())


def test_draws_follow_the_weights() -> None:
    class Numbers:
        conditions = SimpleNamespace(modality=torch.tensor([0] * 8 + [1] * 2))

        def item(self, index: int, deviations: object) -> int:
            return index

    draws = BalancedDraws(Numbers(), 1.0, "mean")  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    counts = np.bincount([draws.draw(rng) for _ in range(4000)], minlength=10) / 4000
    np.testing.assert_allclose(counts, [1 / 16] * 8 + [1 / 4] * 2, atol=0.025)


# --- the average ----------------------------------------------------------------------------


def test_average_is_the_weighted_sum_of_all_weights() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(40)
    model, average = torch.nn.Linear(1, 1).double(), torch.nn.Linear(1, 1).double()
    average.load_state_dict(model.state_dict())
    start = model.bias.item()
    decays = [min(0.5, (1 + n) / (10 + n)) for n in range(len(weights))]
    for n, weight in enumerate(weights):
        model.bias.data.fill_(weight)
        ema.update(average, model, ema.warmed_decay(0.5, n))
    kept = np.array([math.prod(decays[n + 1 :]) for n in range(len(weights))])
    expected = math.prod(decays) * start + np.sum(kept * (1 - np.array(decays)) * weights)
    assert math.isclose(average.bias.item(), expected, rel_tol=1e-9)


def test_warm_up_forgets_the_initial_weights() -> None:
    left = math.prod(ema.warmed_decay(0.9999, n) for n in range(100))
    assert left < 1e-9 < 0.9 < 0.9999**100
    assert ema.warmed_decay(0.9999, 10**6) == 0.9999


# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize("loss, power", [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("linear", [True, False])
def test_untrained_loss_is_that_of_the_linear_answer(
    loss: str, power: int, linear: bool, latents: Path, tmp_path: Path
) -> None:
    """A fresh network says zero: what is left is c(t) z, or nothing, against x0 - noise."""
    task = training_task(steps=1, learning_rate=1e-9, loss=loss, validation_scans=1)
    task = replace(task, process=RectifiedFlowSettings(linear_answer=linear))
    train_denoiser(task, latents, cohort(), STATISTICS, Job(tmp_path, "identity"))
    r = (8**3 / 32768) ** (1 / 3)  # half time, shifted for the latent's 8 x 8 x 8 voxels
    t = 0.5 * r / (1 + 0.5 * (r - 1))
    scans, expected = cohort(), []
    for name in scans.loc[scans["split"] == "validation", "scan_id"]:
        x0 = torch.from_numpy(Latents(latents).scaled_mean(name))
        own = torch_generator(seed_for(7, "validation", name))
        noise = torch.randn((1, *x0.shape), generator=own)[0]
        z = (1 - t) * x0 + t * noise
        answer = linear * (1 - 2 * t) / ((1 - t) ** 2 + t**2) * z
        expected.append(float((answer - (x0 - noise)).abs().pow(power).mean()))
    assert min(abs(validation_losses(tmp_path)[0] - value) for value in expected) < 1e-3


class Recorder(torch.nn.Module):
    """Stands for a denoiser, and notes how many metadata fields each item tells it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.told = torch.nn.Parameter(torch.zeros(1)), []

    def forward(self, z, t, conditions):
        self.told += conditions.mask.sum(1).tolist()
        return z * self.weight


def test_a_step_works_where_its_batch_is(latents: Path) -> None:
    """The meta device stands for a GPU: whatever stays on the CPU cannot be added to it."""
    cache = Latents(latents)
    standard = Standard.of("centred", Moments.read(latents), cache.space.scale)
    objective = StageB(training_task(), cache, standard, cohort(), STATISTICS)
    model = objective.modules["model"].to("meta")
    run = SimpleNamespace(modules={"model": model}, update=lambda *given: False)
    batch = {key: value[None].to("meta") for key, value in objective.data.scans.item(0).items()}
    losses = objective.step(run, batch, None)  # type: ignore[arg-type]
    assert losses["loss"].device.type == "meta"


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dropout_hides_all_metadata_of_a_share_of_items(dropout: float, latents: Path) -> None:
    """Every scan of the cohort tells its age, so that none at all means hidden."""
    task = training_task(conditioning_dropout=dropout)
    cache = Latents(latents)
    standard = Standard.of("scale", Moments.read(latents), cache.space.scale)
    objective = StageB(task, cache, standard, cohort(), STATISTICS)
    model = Recorder()
    run = SimpleNamespace(modules={"model": model}, update=lambda *given: False)
    item = objective.data.scans.item(0)
    batch = {key: torch.stack([value] * 50) for key, value in item.items()}
    for seed in range(20):
        objective.step(run, batch, torch_generator(seed))  # type: ignore[arg-type]
    told = float(item["mask"].sum())
    assert set(model.told) == ({0.0, told} if dropout else {told})
    assert model.told.count(0.0) / 1000 == pytest.approx(dropout, abs=0.05)
    assert batch["mask"].sum() == 50 * told  # the scan's own is left alone


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_ddpm_is_trained_on_its_own_target(prediction: str, latents: Path, tmp_path: Path) -> None:
    """A fresh network says zero: what is left is the target of step 501 of 1000, MONAI's 500."""
    process = DiscreteDiffusionSettings(kind="ddpm", prediction=prediction)
    task = training_task(process, steps=1, learning_rate=1e-9, validation_scans=1)
    train_denoiser(task, latents, cohort(), STATISTICS, Job(tmp_path, "identity"))
    scans, expected = cohort(), []
    monai = DDPMScheduler(schedule="cosine")
    for name in scans.loc[scans["split"] == "validation", "scan_id"]:
        x0 = torch.from_numpy(Latents(latents).scaled_mean(name))[None]
        own = torch_generator(seed_for(7, "validation", name))
        noise = torch.randn(x0.shape, generator=own)
        v = monai.get_velocity(x0, noise, torch.tensor([500]))
        expected.append(float((noise if prediction == "epsilon" else v).square().mean()))
    assert min(abs(validation_losses(tmp_path)[0] - value) for value in expected) < 1e-3
    assert load(tmp_path)[1]["process"] == process


def test_it_learns(latents: Path, tmp_path: Path) -> None:
    """An untrained network's loss is the linear answer's, the test above shows: beat that."""
    untrained = trained(latents, tmp_path / "untrained", steps=1, learning_rate=1e-9)
    learned = trained(latents, tmp_path / "learned", steps=120, learning_rate=3e-2, ema_decay=0.9)
    assert validation_losses(learned)[-1] < 0.95 * validation_losses(untrained)[-1]


def test_a_cut_off_training_ends_as_an_undisturbed_one(
    latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(latents, tmp_path / "whole", steps=6)
    calls = die_at_step(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        trained(latents, tmp_path / "cut", steps=6)
    resumed = trained(latents, tmp_path / "cut", steps=6)
    assert len(calls) == 4 + 4  # steps 1-2 were kept, 3-6 made again
    for name in ("model.safetensors", "history.csv", "config.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_finished_training_writes_again_what_was_removed(latents: Path, tmp_path: Path) -> None:
    """As Snakemake does: it removes a job's outputs before the job runs again."""
    outputs = [tmp_path / name for name in ("model.safetensors", "config.json", "history.csv")]
    trained(latents, tmp_path)
    before = [path.read_bytes() for path in outputs]
    for path in outputs:
        path.unlink()
    trained(latents, tmp_path)
    assert [path.read_bytes() for path in outputs] == before


def test_trained_folder_tells_all_that_sampling_needs(latents: Path, tmp_path: Path) -> None:
    folder = tmp_path / "denoisers" / "tiny"
    denoiser, config = load(trained(latents, folder, steps=1))
    assert denoiser.conv_in.conv.in_channels == LATENT[0]
    assert (config["name"], config["process"].kind) == ("tiny", "rflow")
    assert config["modalities"] == ("T1w", "T2w", "T1Gd", "FLAIR")
    assert config["latent_space"]["shape"] == list(LATENT)
    named = folder / config["latent_space"]["compressor"]
    assert named.resolve() == (latents.parent / "compressors" / "haar").resolve()
    assert config["statistics"]["age"] == (1.0, 2.0)


def test_average_is_what_is_written(latents: Path, tmp_path: Path) -> None:
    """With decay 0 the average is the model itself; with decay near 1 it lags behind."""
    sizes = {}
    for decay in (0.0, 0.99):
        out = trained(latents, tmp_path / str(decay), steps=1, ema_decay=decay)
        block = load(out)[0].up_blocks[-1].resnets[-1]
        sizes[decay] = float(block.conv2.conv.weight.abs().mean())
    # Zero before the only step; its warmed-up decay is min(0.99, 1/10) = 0.1.
    assert math.isclose(sizes[0.99], 0.9 * sizes[0.0], rel_tol=1e-4)


def test_what_does_not_fit_is_told(latents: Path, tmp_path: Path) -> None:
    scans = cohort()
    with pytest.raises(UserError, match="no scan is in the validation split"):
        trained(latents, tmp_path, scans[scans["split"] != "validation"])
    stranger = scans.assign(scan_id=scans["scan_id"].replace("ALPHA/sub-02_T1Gd", "BETA/sub-1_T1w"))
    with pytest.raises(UserError, match="no latent of BETA/sub-1_T1w"):
        trained(latents, tmp_path, stranger)
    assert not list(tmp_path.iterdir())


def test_it_knows_what_it_was_trained_on(latents: Path, tmp_path: Path) -> None:
    """The modalities of the training split, in the study's order; others cannot be asked for."""
    scans = cohort()
    few = scans[scans["modality"].isin(["T2w", "T1w"]) | (scans["split"] != "train")]
    assert read_config(trained(latents, tmp_path, few, steps=1))["modalities"] == ("T1w", "T2w")


def test_mixed_precision_learns_about_the_same(latents: Path, tmp_path: Path) -> None:
    """bfloat16 keeps 8 bits: the losses agree with single precision's to a few per cent."""
    full = validation_losses(trained(latents, tmp_path / "full", steps=4))
    mixed = validation_losses(trained(latents, tmp_path / "bf16", steps=4, precision="bf16-mixed"))
    np.testing.assert_allclose(mixed, full, rtol=0.05)
    assert mixed != full
