"""The training loop, on Lightning Fabric: every training resumes exactly.

An `Objective` says what is trained, a `Plan` (`wfdm.training.plan`) how long and where;
`train(objective, plan)` does it. The loop keeps no hidden state: step number `s` sees the batch
whose item `i` is

    objective.data.draw(generator_for(seed, "train", name, s, i))

the learning rate is the optimizer's own times `objective.schedule(s)`, and random numbers inside
the step come from a torch generator seeded with (seed, "train", name, "noise", s). So a killed
training continues from its last state (kept at every validation) to exactly the
weights of an uninterrupted one, with any number of loader workers.

How to use it, with an exponential moving average as the module that is judged and exported:

    class Denoising:                                  # an Objective
        def __init__(self, ...):
            self.modules = {"model": unet, "ema": copy.deepcopy(unet).requires_grad_(False)}
            self.optimizers = {"model": torch.optim.Adam(unet.parameters(), lr=1e-4)}
            self.exported = "ema"
            ...
        def step(self, run, batch, generator):
            loss = ...run.modules["model"](...)...    # the set-up module: autocast and DDP
            if run.update("model", loss, clip=1.0):   # zero, backward, clip, optimizer step
                ...move self.modules["ema"] towards self.modules["model"]...
            return {"loss": loss}
        def validate(self, run, index):
            with run.fabric.autocast():               # self.modules are the bare ones
                return {"val_loss": float(...self.modules["ema"](...)...)}

Modules are saved and restored by name, so every copy that the next step depends on (such as an
EMA) belongs in `modules`; those without a trainable parameter are only moved to the device.
Two modules trained by one optimizer go into one wrapping nn.Module.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.optim import Optimizer

from wfdm.errors import UserError
from wfdm.log import Rates, log
from wfdm.seeds import seed_for, torch_generator
from wfdm.training import interrupt, results, state
from wfdm.training.batches import Batch, Draws, batches
from wfdm.training.board import Board
from wfdm.training.judging import judged, over_devices
from wfdm.training.plan import Plan
from wfdm.training.skips import MOST_IN_A_ROW, Skips, diverged, skipped_steps
from wfdm.training.summary import Parts


class Objective(Protocol):
    """What is trained and how it is judged; plain attributes are enough for the properties.

    Attributes:
        modules: everything with weights, by name.
        optimizers: one optimizer per trained module, under that module's name.
        exported: name of the module that is validated and written to model.safetensors.
        data: the source of training items.
        batch_size: items per step, over all devices.
        schedule: step -> factor on each optimizer's own learning rate.
        validation_size: number of validation items.
        columns: what `validate` tells of an item, val_loss among it.
    """

    @property
    def modules(self) -> Mapping[str, nn.Module]: ...  # noqa: D102

    @property
    def optimizers(self) -> Mapping[str, Optimizer]: ...  # noqa: D102

    @property
    def exported(self) -> str: ...  # noqa: D102

    @property
    def data(self) -> Draws: ...  # noqa: D102

    @property
    def batch_size(self) -> int: ...  # noqa: D102

    @property
    def schedule(self) -> Callable[[int], float]: ...  # noqa: D102

    @property
    def validation_size(self) -> int: ...  # noqa: D102

    @property
    def columns(self) -> Sequence[str]: ...  # noqa: D102

    def step(self, run: "Run", batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Update the modules on one batch; return the losses (scalars), always the same names."""
        ...

    def validate(self, run: "Run", index: int) -> Mapping[str, float]:
        """Return what one validation item says, by column of the history.

        Called without gradients, in eval mode. An item may leave columns out, but not val_loss.
        """
        ...


@dataclass
class Run:
    """What a step may use: the modules as Fabric has set them up, and the step's number."""

    fabric: Fabric
    modules: dict[str, nn.Module]
    optimizers: dict[str, Any]
    step: int = 0
    skips: Skips = field(default_factory=Skips)

    def update(self, name: str, loss: Tensor, clip: float) -> bool:
        """Minimise `loss` by one step of optimizer `name`, gradient norm clipped to `clip`.

        Where that norm is not finite, neither weights nor moments change, and the step is counted
        as skipped; every device sees the same norm. Returns whether the step was made: what
        follows a module, such as its average, should then stay too.
        """
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.modules[name], optimizer, max_norm=clip, error_if_nonfinite=False
        )
        assert norm is not None
        made = bool(norm.isfinite())
        if not made:
            optimizer.zero_grad()
        # Without gradients this changes nothing, but 16-bit training lowers its loss scale: it
        # looks for the largest one on purpose.
        optimizer.step()
        self.skips.count(name, made)
        return made


def train(objective: Objective, plan: Plan) -> dict[str, float]:
    """Train, or continue a training that was cut off, and write the results into `plan.job.folder`.

    Returns:
        steps done in this call, seconds per step, items per second and peak memory (MB); see
        `wfdm.log.Rates.summary`.

    Raises:
        UserError: the loss is not finite, the batch does not divide over the devices, or a kept
            state or the weights to start from cannot be used.
        StoppedError: a signal asked it to stop; it continues when it is run again.
    """
    steps = plan.training.steps
    torch.set_num_threads(plan.job.threads)
    # One process starts the others: a SLURM job of one task would be taken for one of many.
    alone = LightningEnvironment()
    fabric = Fabric(
        accelerator="auto", devices="auto", precision=plan.training.precision, plugins=alone
    )
    fabric.launch()
    run = _set_up(fabric, objective)
    progress = _resume(fabric, objective, plan)
    run.skips.restore(progress.skips)
    loader = _batches(objective, plan, fabric, start=progress.step)
    rates = Rates(plan.name, steps, progress.step, items=objective.batch_size)
    board = Board(plan.job.folder, progress.step) if fabric.is_global_zero else None
    parts = Parts(objective.modules, told=fabric.is_global_zero)
    with interrupt.heeded() as stop:
        for batch in loader:
            run.step = progress.step
            with parts.seen_once():
                losses = _one_step(run, objective, plan, batch)
            for name, loss in losses.items():
                progress.sums[name] = progress.sums.get(name, 0) + loss.float()
            progress.step += 1
            if fabric.is_global_zero:
                rates.tick(progress.step, losses)
            if progress.step % plan.training.validate_every == 0 or progress.step == steps:
                with rates.paused():
                    _judge(run, objective, plan, progress)
                if board is not None:
                    board.show(progress.history[-1])
            if progress.step < steps and (number := stop.asked(fabric)):
                _keep(run, objective, plan, progress)
                raise interrupt.StoppedError(plan.name, number, progress.step)
    if board is not None:
        board.close()
        newest = state.copy_weights(objective.modules[objective.exported])
        results.write(plan.job.folder, newest, progress.best, plan.config, progress.history)
    fabric.barrier()
    summary = rates.summary(progress.step)
    if fabric.is_global_zero and summary["steps"]:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in summary.items())
        log.info(f"{plan.name}: {figures}")
    return summary


def _set_up(fabric: Fabric, objective: Objective) -> Run:
    modules = {}
    for name, module in objective.modules.items():
        trained = any(parameter.requires_grad for parameter in module.parameters())
        modules[name] = fabric.setup_module(module) if trained else fabric.to_device(module)
    optimizers = {}
    for name, optimizer in objective.optimizers.items():
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        optimizers[name] = fabric.setup_optimizers(optimizer)
    return Run(fabric, modules, optimizers)


def _state_file(plan: Plan) -> Path:
    return plan.job.folder / "last" / state.FILE


def _resume(fabric: Fabric, objective: Objective, plan: Plan) -> state.Progress:
    file = _state_file(plan)
    if fabric.is_global_zero:
        state.make_way(file, plan.job.identity)
    fabric.barrier()
    progress = state.restore(file, objective.modules, objective.optimizers)
    progress.sums = fabric.to_device(progress.sums)
    words = ""
    if progress.step:
        fabric.strategy.precision.load_state_dict(progress.precision)
        words = f"continuing after step {progress.step} of {plan.training.steps}"
    elif plan.job.start is not None:
        loaded = state.start_from(plan.job.start, objective.modules, objective.exported)
        words = f"starting from {plan.job.start} ({', '.join(loaded)})"
    if words and fabric.is_global_zero:
        log.info(f"{plan.name}: {words}")
    return progress


def _batches(objective: Objective, plan: Plan, fabric: Fabric, start: int) -> Iterator[Batch]:
    if objective.batch_size % fabric.world_size:
        raise UserError(
            f"{plan.name}: batch_size {objective.batch_size} does not divide over "
            f"{fabric.world_size} devices; make it a multiple or give fewer devices"
        )
    items = range(fabric.global_rank, objective.batch_size, fabric.world_size)
    steps = range(start, plan.training.steps)
    return batches(objective.data, plan.seed, plan.name, items, steps, plan.job.workers)


def _one_step(run: Run, objective: Objective, plan: Plan, batch: Batch) -> dict[str, Tensor]:
    for optimizer in objective.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * objective.schedule(run.step)
    names = ("train", plan.name, "noise", run.step, run.fabric.global_rank)
    generator = torch_generator(seed_for(plan.seed, *names), run.fabric.device)
    before = run.skips.since_row.total()
    losses = objective.step(run, run.fabric.to_device(batch), generator)
    if stuck := run.skips.stuck():
        raise _diverged(plan, f"the gradient of '{stuck}' was not finite {MOST_IN_A_ROW} times")
    losses = {name: loss.detach() for name, loss in losses.items()}
    if run.skips.since_row.total() > before and not _finite(run.fabric, losses):
        run.skips.left_out += 1
        return {}
    return losses


def _judge(run: Run, objective: Objective, plan: Plan, progress: state.Progress) -> None:
    """Validate, add a row to the history, and keep the state."""
    fabric = run.fabric
    since = int(progress.history[-1]["step"]) if progress.history else 0
    row: dict[str, float] = {"step": progress.step}
    counted = progress.step - since - run.skips.left_out
    if not counted:
        raise _diverged(plan, f"no loss was finite from step {since} to {progress.step}")
    for name, total in progress.sums.items():
        row[name] = over_devices(fabric, total / counted, "mean").item()
    row |= judged(fabric, objective, run)
    for name, value in row.items():
        if not math.isfinite(value):
            raise _diverged(plan, f"'{name}' is not finite by step {progress.step}")
    row |= run.skips.finish_row(run.optimizers)
    progress.history.append(row)
    progress.sums = {}
    if row["val_loss"] < progress.best_loss:
        progress.best_loss = row["val_loss"]
        progress.best = state.copy_weights(objective.modules[objective.exported])
    _keep(run, objective, plan, progress)
    if fabric.is_global_zero:
        results.write_history(plan.job.folder, progress.history)
        lost = skipped_steps(row)
        log.info(f"{plan.name}: step {progress.step} val_loss {row['val_loss']:.5g}{lost}")


def _keep(run: Run, objective: Objective, plan: Plan, progress: state.Progress) -> None:
    """Keep the state that the next step starts from."""
    progress.skips = run.skips.state()
    progress.precision = run.fabric.strategy.precision.state_dict()
    if run.fabric.is_global_zero:
        state.save(
            _state_file(plan), plan.job.identity, progress, objective.modules, objective.optimizers
        )
    run.fabric.barrier()


def _diverged(plan: Plan, what: str) -> UserError:
    return diverged(f"{plan.name}: {what}", plan.training.precision, _state_file(plan))


def _finite(fabric: Fabric, losses: Mapping[str, Tensor]) -> bool:
    """Whether these losses are finite on every device: all decide alike."""
    total = torch.stack([loss.float() for loss in losses.values()]).sum()
    return math.isfinite(over_devices(fabric, total, "mean").item())
