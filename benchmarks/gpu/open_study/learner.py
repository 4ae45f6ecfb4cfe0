"""A careful optimiser for trainings of minutes, and the arithmetic they run in."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.open_study.output import Output, plain
from wfdm.training.ema import warmed_decay

SEED = 42
BETAS = (0.9, 0.99)  # a short memory: a training of minutes
FLOOR = 0.01  # of the learning rate, at the end of its cosine
WINDOW = 25  # steps between two looks at the losses


def autocast(device: torch.device, enabled: bool) -> AbstractContextManager:
    """Return bfloat16 autocast, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if enabled else nullcontext()


@contextmanager
def measuring() -> Iterator[None]:
    """No gradients, and no search for the quickest convolution: sizes of batches vary here."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.cudnn.benchmark = before


def rate_at(step: int, done: float, warmup_steps: int) -> float:
    """Return the factor of the learning rate: linear warm-up by steps, then cosine by `done`."""
    cosine = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))
    return min(1.0, (step + 1) / max(1, warmup_steps)) * cosine


class Learner:
    """A module, its moving average and its optimiser; a broken window of steps is taken back.

    Losses are looked at every `window` steps only, so that the GPU need not wait: when one of them
    is not finite, all weights return to the end of the last good window, and the rate is halved.
    """

    def __init__(self, model: nn.Module, rate: float, ema_decay: float, clip: float = 1.0) -> None:
        self.model, self.rate, self.decay, self.clip = model, rate, ema_decay, clip
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        self.steps, self.rescues = 0, 0
        self.window: list[tuple[Tensor, Tensor]] = []
        self.fused = next(model.parameters()).is_cuda
        self._optimizer()
        self._keep()

    def _optimizer(self) -> None:
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=self.rate, betas=BETAS, fused=self.fused
        )

    def _step(self, rate: float) -> None:
        """Step at this rate; the fused kernel is given up where it refuses a memory layout."""
        try:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        except RuntimeError:
            if not self.fused:
                raise
            self.fused = False
            self._optimizer()
            self._step(rate)

    def _keep(self) -> None:
        self.good = [copy.deepcopy(each.state_dict()) for each in (self.model, self.average)]

    def update(self, loss: Tensor, factor: float) -> None:
        """Make one step down the gradient of `loss` at `factor` of the rate."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self._step(self.rate * factor)
        self._follow()
        self.steps += 1
        self.window.append((loss.detach(), norm.detach()))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average; as `wfdm.training.ema.update`, in one call for all weights."""
        weight = 1 - warmed_decay(self.decay, self.steps)
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), weight)

    def close_window(self) -> dict[str, float]:
        """Return mean loss and gradient norm since the last call; take a broken window back."""
        if not self.window:
            return {}
        found = torch.tensor([[float(a), float(b)] for a, b in _moved(self.window)])
        self.window = []
        if not torch.isfinite(found).all():
            self.rescues += 1
            self.rate /= 2
            self.model.load_state_dict(self.good[0])
            self.average.load_state_dict(self.good[1])
            self._optimizer()
            return {"rescued": self.rescues}
        self._keep()
        loss, norm = found.mean(0).tolist()
        return {"loss": loss, "gradient_norm": norm}


def _moved(window: list[tuple[Tensor, Tensor]]) -> list[tuple[float, float]]:
    """Bring a window's scalars to the CPU in one go."""
    stacked = torch.stack([torch.stack([a.float(), b.float()]) for a, b in window])
    return [tuple(pair) for pair in stacked.cpu().tolist()]


def synchronise(device: torch.device) -> None:
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_per_step(step: Callable[[], Any], device: torch.device, warm: int, count: int) -> float:
    """Return the time of one call of `step`."""
    for _ in range(warm):
        step()
    synchronise(device)
    start = time.perf_counter()
    for _ in range(count):
        step()
    synchronise(device)
    return (time.perf_counter() - start) / count


def memory_formats(device: torch.device) -> Iterable[torch.memory_format]:
    """Return the layouts worth trying."""
    if device.type == "cuda":
        return (torch.contiguous_format, torch.channels_last_3d)
    return (torch.contiguous_format,)


def quickest_layout(
    model: nn.Module,
    step: Callable[[nn.Module, torch.memory_format], Any],
    device: torch.device,
    out: Output,
    name: str,
) -> torch.memory_format:
    """Time a few steps of a copy of `model` in each memory layout; return the quickest.

    A layout that fails is left out. Nothing that is tried here touches `model`.
    """
    times: dict[torch.memory_format, float] = {}
    for layout in memory_formats(device):
        trial = copy.deepcopy(model).to(memory_format=layout)
        try:
            counts = (3, 4) if device.type == "cuda" else (0, 1)
            times[layout] = seconds_per_step(lambda t=trial, f=layout: step(t, f), device, *counts)
        except RuntimeError as error:
            out.tell(f"{name}: {layout} fails: {str(error).splitlines()[0]}")
        del trial
    best = min(times, key=times.__getitem__, default=torch.contiguous_format)
    told = {str(layout).removeprefix("torch."): seconds for layout, seconds in times.items()}
    out.tell(f"{name}: seconds a step: {plain(told)}")
    out.note(**{f"{name}_layout_seconds": told})
    return best


def peak_memory() -> float | None:
    """Return the most GPU memory that was held, in GiB."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
