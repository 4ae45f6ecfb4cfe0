"""Gradients that are not finite: the step is skipped and counted, and all else goes on."""

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from safetensors.torch import load_file

from tests.unit import short_plan
from wfdm.errors import UserError
from wfdm.training import ema
from wfdm.training.loop import Run, train
from wfdm.training.plan import Plan
from wfdm.training.skips import MOST_IN_A_ROW

GOAL, LR = 3.0, 0.1
BAD = (0, 4, 5, 12)


class Parabola:
    """Minimise (w - GOAL)^2 / 2 from 0, without data: w_n = GOAL - GOAL (1 - LR)^n under SGD.

    `spoil` maps the loss of the steps in `bad` to what is minimised there.
    """

    def __init__(self, spoil=lambda loss: loss * math.inf, bad=(), adam=False) -> None:
        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(model.weight)
        average = torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
        average.load_state_dict(model.state_dict())
        self.modules = {"model": model, "ema": average}
        kind = torch.optim.Adam if adam else torch.optim.SGD
        self.optimizers = {"model": kind(model.parameters(), lr=LR)}
        self.exported, self.data, self.batch_size, self.validation_size = "model", self, 1, 1
        self.columns = ["val_loss"]
        self.spoil, self.bad = spoil, bad

    def schedule(self, step):
        return 1.0

    def draw(self, rng):
        return {"x": torch.ones(1)}

    def step(self, run, batch, generator):
        loss = (run.modules["model"](batch["x"]) - GOAL).square().mean() / 2
        if run.step in self.bad:
            loss = self.spoil(loss)
        if run.update("model", loss, clip=10.0):
            ema.update(self.modules["ema"], self.modules["model"], 0.5)
        return {"loss": loss}

    def validate(self, run, index):
        return {"val_loss": float(self.modules["model"].weight.sub(GOAL).abs())}

    @property
    def weight(self) -> float:
        return self.modules["model"].weight.item()


def endless_slope(loss):
    """The same finite loss with an infinite gradient: sqrt is vertical at 0."""
    return loss + (loss - loss.detach()).sqrt()


def plan(folder: Path, **changes) -> Plan:
    return short_plan.plan(folder, "parabola", **({"steps": 20, "validate_every": 5} | changes))


def history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv")


@pytest.mark.parametrize("spoil", [lambda loss: loss * math.inf, lambda loss: loss * math.nan,
                                   endless_slope])  # fmt: skip
def test_the_weights_are_those_of_the_steps_that_were_made(tmp_path, spoil):
    spoilt = Parabola(spoil, BAD)
    train(spoilt, plan(tmp_path))
    assert spoilt.weight == pytest.approx(GOAL - GOAL * (1 - LR) ** (20 - len(BAD)), rel=1e-6)
    assert history(tmp_path)["skipped_model"].tolist() == [2, 1, 1, 0]


def test_moments_and_average_are_those_of_a_run_without_these_steps(tmp_path):
    train(Parabola(bad=BAD, adam=True), plan(tmp_path / "spoilt"))
    train(Parabola(adam=True), plan(tmp_path / "shorter", steps=20 - len(BAD), validate_every=16))
    spoilt, shorter = (
        load_file(tmp_path / name / "last" / "state.safetensors") for name in ("spoilt", "shorter")
    )
    assert spoilt.keys() == shorter.keys() and "optimizer/model/0/exp_avg" in spoilt
    assert all(torch.equal(value, shorter[name]) for name, value in spoilt.items())


def test_finite_gradients_give_the_bits_of_a_plain_loop(tmp_path):
    trained, plain = Parabola(adam=True), Parabola(adam=True)
    train(trained, plan(tmp_path))
    model, optimizer = plain.modules["model"], plain.optimizers["model"]
    for _ in range(20):
        optimizer.zero_grad()
        ((model(torch.ones(1, 1)) - GOAL).square().mean() / 2).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    assert torch.equal(trained.modules["model"].weight, model.weight)


def test_means_leave_out_what_is_not_finite_and_the_log_tells(tmp_path, caplog):
    caplog.set_level("INFO", logger="wfdm")
    train(Parabola(bad=(3,)), plan(tmp_path, steps=10))
    made = [GOAL**2 * (1 - LR) ** (2 * n) / 2 for n in range(9)]
    means = [sum(made[:4]) / 4, sum(made[4:]) / 5]
    assert history(tmp_path)["loss"].tolist() == pytest.approx(means, rel=1e-5)
    lines = [line for line in caplog.messages if "val_loss" in line]
    assert lines[0].endswith("; steps skipped, gradient not finite: 1 of model")
    assert "skipped" not in lines[1]


def test_a_killed_training_counts_alike(tmp_path):
    """A state is kept with each row, so a training that goes on from one has the same rows."""
    train(Parabola(bad=BAD), plan(tmp_path / "whole"))
    train(Parabola(bad=BAD), plan(tmp_path / "parts", steps=10))
    train(Parabola(bad=BAD), plan(tmp_path / "parts"))
    for name in ("history.csv", "last/state.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_training_without_a_finite_loss_stops(tmp_path):
    with pytest.raises(UserError, match=r"no loss was finite from step 5 to 10; running again"):
        train(Parabola(bad=range(5, 20)), plan(tmp_path))
    assert history(tmp_path)["step"].tolist() == [5]


def test_what_never_recovers_stops_and_the_advice_is_true(tmp_path):
    bad = range(12, 1000)
    spoilt = plan(tmp_path, steps=300, validate_every=30)
    with pytest.raises(UserError) as told:
        train(Parabola(endless_slope, bad), spoilt)
    text, state = str(told.value), tmp_path / "last" / "state.safetensors"
    assert f"the gradient of 'model' was not finite {MOST_IN_A_ROW} times" in text
    assert f"begin with a copy of {state}" in text and "\n" not in text
    assert "precision" not in text  # it is the widest already
    kept = state.read_bytes()
    with pytest.raises(UserError, match="running again repeats it"):
        train(Parabola(endless_slope, bad), spoilt)
    assert state.read_bytes() == kept
    shutil.copy(state, tmp_path / "copy.safetensors")
    mended = Parabola()
    start = tmp_path / "copy.safetensors"
    train(mended, plan(tmp_path, steps=5, identity="b", start=start, validate_every=5))
    assert mended.weight == pytest.approx(GOAL - GOAL * (1 - LR) ** (12 + 5), rel=1e-6)


@pytest.fixture
def half() -> Run:
    """A run in 16 bits with a loss scaler, on the CPU."""
    fabric = Fabric(accelerator="cpu", plugins=[MixedPrecision("16-mixed", "cpu")])
    parts = Parabola(adam=True)
    model = fabric.setup_module(parts.modules["model"])
    optimizer = fabric.setup_optimizers(parts.optimizers["model"])
    return Run(fabric, {"model": model}, {"model": optimizer})


def loss_of(run: Run) -> torch.Tensor:
    return (run.modules["model"](torch.ones(1, 1)).float() - GOAL).square().mean() / 2


def test_sixteen_bits_look_for_their_scale(half):
    """The largest scale whose gradient is within 16 bits, 65504: from 2**16 down, by halves."""
    scaler = half.fabric.strategy.precision.scaler
    weight = half.modules["model"].weight
    kept = weight.detach().clone()
    for made in (False, False, True):  # the slope is -3
        assert torch.equal(weight, kept)
        assert half.update("model", loss_of(half), 10.0) == made
    assert scaler.get_scale() == 2**14 and weight.item() == pytest.approx(LR)
    kept = weight.detach().clone()
    assert not half.update("model", loss_of(half) * math.inf, 10.0)
    assert torch.equal(weight, kept) and scaler.get_scale() == 2**13
    for made in (False,) * 5 + (True,):  # the slope is -2.9 * 64
        assert torch.equal(weight, kept)
        assert half.update("model", loss_of(half) * 64, 10.0) == made
    assert scaler.get_scale() == 2**8 and weight.item() > kept.item()
    assert half.skips.since_row["model"] == 2 + 1 + 5 and half.skips.in_a_row["model"] == 0
