import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.unit import short_plan
from wfdm.errors import UserError
from wfdm.training import learning_rates
from wfdm.training.loop import train
from wfdm.training.plan import Plan

ROOT = Path(__file__).parents[2]

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
        self.validation_size, self.columns, self.pause = 5, ["val_loss"], pause
        self.rates: list[float] = []

    def schedule(self, step: int) -> float:
        return learning_rates.cosine(step, STEPS, 5)

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
            return {"val_loss": float((self.modules["model"](x) - x.sum()).square())}


def plan(folder: Path, **changes) -> Plan:
    return short_plan.plan(folder, "line", **({"steps": STEPS, "validate_every": 10} | changes))


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
    assert header == "step,loss,val_loss,skipped_model"
    assert [row.split(",")[0] for row in rows] == ["10", "20", "30", "40", "50", "60"]
    losses = [float(row.split(",")[2]) for row in rows]
    assert losses[-1] < 0.5 * losses[0]


def test_the_exported_weights_are_those_of_the_best_validation(undisturbed):
    judged = Line()
    judged.modules["model"].load_state_dict(load_file(undisturbed / "model.safetensors"))
    loss = sum(judged.validate(None, index)["val_loss"] for index in range(5)) / 5
    rows = (undisturbed / "history.csv").read_text().splitlines()[1:]
    assert loss == pytest.approx(min(float(row.split(",")[2]) for row in rows), rel=1e-5)


def disturbed(folder: Path, number: signal.Signals) -> tuple[int, str]:
    """Start a training, send it a signal between two validations; return status and its words."""
    command = [sys.executable, "-m", "tests.unit.test_training_loop", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    state = folder / "last" / "state.safetensors"
    while not state.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    time.sleep(0.1)
    os.kill(process.pid, number)
    told = process.communicate()[1]
    return process.returncode, told


def test_a_killed_training_continues_to_the_same_bytes(undisturbed, tmp_path):
    assert disturbed(tmp_path, signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (tmp_path / "model.safetensors").exists()
    train(Line(), plan(tmp_path))
    assert outputs(tmp_path) == outputs(undisturbed)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_asked_to_stop_keeps_all_it_has_done(undisturbed, tmp_path, number):
    status, told = disturbed(tmp_path, number)
    assert status == 128 + number
    (line,) = [line for line in told.splitlines() if "stopped by" in line]
    step = int(line.rpartition(" ")[2])
    assert number.name in line and 10 < step < STEPS and step % 10, "not at a validation"
    again = Line()
    train(again, plan(tmp_path))
    assert len(again.rates) == STEPS - step, "no step is done twice"
    assert outputs(tmp_path) == outputs(undisturbed)


def test_it_does_not_depend_on_the_number_of_workers(undisturbed, tmp_path):
    train(Line(), plan(tmp_path, workers=2))
    assert outputs(tmp_path) == outputs(undisturbed)


def test_a_finished_training_is_not_repeated(undisturbed, tmp_path):
    train(Line(), plan(tmp_path))
    for name in ("model.safetensors", "history.csv", "config.json"):
        (tmp_path / name).unlink()  # as Snakemake does before it runs a job again
    again = Line()
    train(again, plan(tmp_path))
    assert not again.rates
    assert outputs(tmp_path) == outputs(undisturbed)


def test_the_state_of_another_identity_is_kept_aside_and_comes_back(tmp_path, caplog):
    caplog.set_level("INFO", logger="wfdm")
    train(Line(), plan(tmp_path, steps=10, identity="first" * 9))
    state = tmp_path / "last" / "state.safetensors"
    weeks = state.read_bytes()
    fresh = Line()
    train(fresh, plan(tmp_path, steps=10, identity="second" * 9))
    assert len(fresh.rates) == 10
    assert state.with_name("state-firstfirstfi.safetensors").read_bytes() == weeks
    (line,) = [line for line in caplog.messages if "settings, inputs or code" in line]
    assert "firstfirstfi" in line and "secondsecond" in line and "\n" not in line
    again = Line()
    train(again, plan(tmp_path, steps=10, identity="first" * 9))
    assert not again.rates and state.read_bytes() == weeks
    assert state.with_name("state-secondsecond.safetensors").is_file()


def lose_a_weight(state: Path) -> None:
    with safe_open(state, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(state)
    tensors.pop("module/model/0.weight")
    save_file(tensors, state, metadata)


def cut_off(state: Path) -> None:
    state.write_bytes(state.read_bytes()[:100])


def become_a_folder(state: Path) -> None:  # reading it is an I/O error
    state.unlink()
    state.mkdir()


@pytest.mark.parametrize("damage", [cut_off, lose_a_weight, become_a_folder])
def test_damage_is_told_and_nothing_is_thrown_away(tmp_path, damage):
    train(Line(), plan(tmp_path, steps=10))
    state = tmp_path / "last" / "state.safetensors"
    damage(state)
    for identity in ("a", "b"):
        if damage is lose_a_weight and identity == "b":
            break  # of another identity its tensors are not looked at
        with pytest.raises(UserError, match=r"state\.safetensors is damaged \(.+remove it") as told:
            train(Line(), plan(tmp_path, steps=10, identity=identity))
        assert "\n" not in str(told.value)
    assert [path.name for path in state.parent.glob("state*")] == ["state.safetensors"]


def weights_at_the_start(folder: Path, **changes) -> tuple[Line, dict[str, torch.Tensor]]:
    """Return an objective after a step of no size, and the weights that it began with."""
    started = Line(lr=0.0)
    train(started, plan(folder, steps=1, validate_every=1, **changes))
    return started, started.modules["model"].state_dict()


def test_it_starts_from_the_weights_of_another_training(undisturbed, tmp_path):
    file = undisturbed / "model.safetensors"
    started, weights = weights_at_the_start(tmp_path, start=file)
    wanted = load_file(file)
    assert wanted.keys() == weights.keys()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert len(started.rates) == 1  # it does not continue: steps and optimizer begin anew
    assert not any(torch.equal(value, weights[name]) for name, value in fresh_weights().items())


def fresh_weights() -> dict[str, torch.Tensor]:
    return Line().modules["model"].state_dict()


def test_it_starts_from_the_modules_of_a_state(undisturbed, tmp_path):
    file = undisturbed / "last" / "state.safetensors"
    started, weights = weights_at_the_start(tmp_path, start=file)
    kept = load_file(file)
    assert all(torch.equal(value, kept[f"module/model/{name}"]) for name, value in weights.items())
    mean = started.modules["average"].weight - 0.1 * (weights["2.weight"])
    torch.testing.assert_close(mean, 0.9 * kept["module/average/weight"])


def test_a_kept_state_goes_before_the_weights_to_start_from(undisturbed, tmp_path):
    train(Line(), plan(tmp_path, steps=10, start=undisturbed / "model.safetensors"))
    state = (tmp_path / "last" / "state.safetensors").read_bytes()
    again = Line()
    train(again, plan(tmp_path, steps=10, start=undisturbed / "model.safetensors"))
    assert not again.rates
    assert (tmp_path / "last" / "state.safetensors").read_bytes() == state


def test_weights_of_another_model_are_refused(tmp_path):
    save_file({"0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"other\.safetensors holds another model"):
        train(Line(), plan(tmp_path, start=tmp_path / "other.safetensors"))


def test_it_tells_the_parts_once_and_they_change_nothing(undisturbed, tmp_path, caplog):
    caplog.set_level("INFO", logger="wfdm")
    line = Line()
    train(line, plan(tmp_path))
    assert outputs(tmp_path) == outputs(undisturbed)
    (table,) = [text for text in caplog.messages if text.startswith("model: Sequential")]
    rows = [row.split() for row in table.splitlines()[1:]]
    assert rows == [
        ["0", "4x8", "32"],
        ["1", "4x8", "0"],
        ["2", "4x1", "9"],
        ["in", "all", "41"],
    ]
    assert not any(part._forward_hooks for part in line.modules["model"].modules())


def test_the_learning_rate_follows_the_schedule_after_a_resume(tmp_path):
    whole, half, rest = Line(), Line(), Line()
    train(whole, plan(tmp_path / "whole", steps=20))
    train(half, plan(tmp_path / "parts", steps=10))
    train(rest, plan(tmp_path / "parts", steps=20))
    assert half.rates + rest.rates == whole.rates
    assert whole.rates == [0.02 * learning_rates.cosine(step, STEPS, 5) for step in range(20)]


def test_a_diverging_training_says_so_and_keeps_no_broken_state(tmp_path):
    with pytest.raises(UserError, match=r"line: 'val_loss' is not finite by step 10"):
        train(Line(lr=float("inf")), plan(tmp_path))
    assert not (tmp_path / "last" / "state.safetensors").exists()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("warmup", [0, 7])
def test_schedules_rise_then_fall_to_nothing(warmup):
    shapes = [
        [learning_rates.cosine(step, 100, warmup) for step in range(101)],
        [learning_rates.polynomial(step, 100, warmup, 2.0) for step in range(101)],
    ]
    for rates in shapes:
        peak = max(warmup - 1, 0)
        assert rates[:peak] == sorted(rates[:peak])
        assert rates[peak:] == sorted(rates[peak:], reverse=True)
        assert 0.85 < max(rates) <= 1
        assert rates[-1] == pytest.approx(0, abs=1e-12)


if __name__ == "__main__":
    try:
        train(Line(pause=0.05), plan(Path(sys.argv[1])))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.status)
