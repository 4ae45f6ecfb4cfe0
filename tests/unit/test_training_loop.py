import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from wfdm.errors import UserError
from wfdm.training import schedules
from wfdm.training.loop import Plan, train

STEPS = 60


class Line:
    """Fit a small network to noise-free points; `pause` makes a kill land inside the training."""

    def __init__(self, pause: float = 0.0, lr: float = 0.02) -> None:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        average = torch.nn.Linear(8, 1).requires_grad_(False)
        average.load_state_dict(net[2].state_dict())
        self.modules = {"model": net, "average": average}
        self.optimizers = {"model": torch.optim.Adam(net.parameters(), lr=lr)}
        self.exported, self.data, self.batch_size = "model", self, 4
        self.validation_size, self.pause = 5, pause
        self.rates: list[float] = []

    def schedule(self, step: int) -> float:
        return schedules.cosine(step, STEPS, 5)

    def draw(self, rng):
        x = torch.from_numpy(rng.standard_normal(3)).float()
        return {"x": x, "y": x.sum(0, keepdim=True)}

    def step(self, run, batch, generator):
        time.sleep(self.pause)
        self.rates.append(self.optimizers["model"].param_groups[0]["lr"])
        noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
        loss = (run.modules["model"](batch["x"] + noise) - batch["y"]).square().mean()
        run.update("model", loss, clip=1.0)
        for mean, new in zip(
            self.modules["average"].parameters(), self.modules["model"][2].parameters(), strict=True
        ):
            mean.lerp_(new.detach(), 0.1)
        return {"loss": loss}

    def validate(self, run, index):
        x = torch.full((1, 3), index / 5)
        with torch.no_grad():
            return float((self.modules["model"](x) - x.sum()).square())


def plan(folder: Path, **changes) -> Plan:
    kept = {"name": "line", "seed": 1, "steps": STEPS, "validate_every": 10, "folder": folder}
    return Plan(**(kept | {"config": lambda _: "{}", "identity": "a"} | changes))


def outputs(folder: Path) -> dict[str, bytes]:
    names = ("model.safetensors", "history.csv", "config.json", "last/state.safetensors")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train(Line(), plan(folder))
    return folder


def test_it_learns_and_tells_its_history(undisturbed):
    header, *rows = (undisturbed / "history.csv").read_text().splitlines()
    assert header == "step,loss,val_loss"
    assert [row.split(",")[0] for row in rows] == ["10", "20", "30", "40", "50", "60"]
    losses = [float(row.split(",")[2]) for row in rows]
    assert losses[-1] < 0.5 * losses[0]


def test_the_exported_weights_are_those_of_the_best_validation(undisturbed):
    judged = Line()
    judged.modules["model"].load_state_dict(load_file(undisturbed / "model.safetensors"))
    loss = sum(judged.validate(None, index) for index in range(5)) / 5
    rows = (undisturbed / "history.csv").read_text().splitlines()[1:]
    assert loss == pytest.approx(min(float(row.split(",")[2]) for row in rows), rel=1e-5)


def test_a_killed_training_continues_to_the_same_bytes(undisturbed, tmp_path):
    command = [sys.executable, __file__, str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "last" / "state.safetensors"
    while not state.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    time.sleep(0.1)  # now between two validations
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "model.safetensors").exists()
    train(Line(), plan(tmp_path))
    assert outputs(tmp_path) == outputs(undisturbed)


def test_it_does_not_depend_on_the_number_of_workers(undisturbed, tmp_path):
    train(Line(), plan(tmp_path, workers=2))
    assert outputs(tmp_path) == outputs(undisturbed)


def test_a_finished_training_is_not_repeated(undisturbed, tmp_path):
    train(Line(), plan(tmp_path))
    again = Line()
    train(again, plan(tmp_path))
    assert not again.rates
    assert outputs(tmp_path) == outputs(undisturbed)


def test_another_identity_starts_afresh(tmp_path, capsys):
    train(Line(), plan(tmp_path, steps=10))
    fresh = Line()
    train(fresh, plan(tmp_path, steps=10, identity="b"))
    assert len(fresh.rates) == 10
    assert "starting afresh" in capsys.readouterr().err


def test_a_damaged_state_starts_afresh(tmp_path):
    train(Line(), plan(tmp_path, steps=10))
    state = tmp_path / "last" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    fresh = Line()
    train(fresh, plan(tmp_path, steps=10))
    assert len(fresh.rates) == 10


def test_the_learning_rate_follows_the_schedule_after_a_resume(tmp_path):
    whole, half, rest = Line(), Line(), Line()
    train(whole, plan(tmp_path / "whole", steps=20))
    train(half, plan(tmp_path / "parts", steps=10))
    train(rest, plan(tmp_path / "parts", steps=20))
    assert half.rates + rest.rates == whole.rates
    assert whole.rates == [0.02 * schedules.cosine(step, STEPS, 5) for step in range(20)]


def test_a_diverging_training_says_so_and_keeps_no_broken_state(tmp_path):
    with pytest.raises(UserError, match=r"line: 'loss' is not finite by step 10"):
        train(Line(lr=float("inf")), plan(tmp_path))
    assert not (tmp_path / "last" / "state.safetensors").exists()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("warmup", [0, 7])
def test_schedules_rise_then_fall_to_nothing(warmup):
    shapes = [
        [schedules.cosine(step, 100, warmup) for step in range(101)],
        [schedules.polynomial(step, 100, warmup, 2.0) for step in range(101)],
    ]
    for rates in shapes:
        peak = max(warmup - 1, 0)
        assert rates[:peak] == sorted(rates[:peak])
        assert rates[peak:] == sorted(rates[peak:], reverse=True)
        assert 0.85 < max(rates) <= 1
        assert rates[-1] == pytest.approx(0, abs=1e-12)


if __name__ == "__main__":
    train(Line(pause=0.05), plan(Path(sys.argv[1])))
