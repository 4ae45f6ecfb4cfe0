"""What both stages of the open study share: a clock, files that are whole, a careful optimiser."""

import copy
import csv
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from wfdm.atomic import atomic_path, write_text
from wfdm.training.ema import warmed_decay

SEED = 42
BETAS = (0.9, 0.99)  # a short memory: a training of minutes
FLOOR = 0.01  # of the learning rate, at the end of its cosine


@dataclass
class Clock:
    """Seconds since the start of the process, against a limit."""

    budget: float
    start: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        """Seconds until the limit."""
        return self.budget - self.elapsed


@dataclass
class Output:
    """The output folder: every file is replaced as a whole as soon as there is news."""

    folder: Path
    clock: Clock
    results: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def tell(self, text: str) -> None:
        """Print one line with the time, cut to what a log can hold."""
        print(f"[{self.clock.elapsed:6.1f} s] {text[:400]}", flush=True)

    def note(self, **news: Any) -> None:
        """Add to results.json."""
        self.results |= news
        self.results["wall_seconds"] = round(self.clock.elapsed, 1)
        write_text(self.folder / "results.json", json.dumps(plain(self.results), indent=1) + "\n")

    def row(self, table: str, **cells: Any) -> None:
        """Add a row to a table; `flush` writes it."""
        self.tables.setdefault(table, []).append(cells)

    def flush(self) -> None:
        """Write all tables."""
        for name, rows in self.tables.items():
            columns = list(dict.fromkeys(key for row in rows for key in row))
            with (
                atomic_path(self.folder / f"{name}.csv") as temporary,
                open(temporary, "w", newline="") as stream,
            ):
                writer = csv.DictWriter(stream, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(plain(rows))

    def weights(self, name: str, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Write weights in half precision, with `about` as JSON in the header."""
        half = {
            key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
            for key, value in tensors.items()
        }
        with atomic_path(self.folder / f"{name}.safetensors") as temporary:
            save_file(half, temporary, metadata={"config": json.dumps(plain(about))})

    def arrays(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Write arrays, compressed."""
        with (
            atomic_path(self.folder / f"{name}.npz") as temporary,
            open(temporary, "wb") as stream,
        ):
            np.savez_compressed(stream, **arrays)


def plain(value: Any) -> Any:
    """Return `value` as JSON knows it; numbers with six digits, what is not finite as null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


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


def versions() -> dict[str, Any]:
    """Return the hardware and the versions."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    packages = {}
    for name in ("torch", "monai", "numpy", "pydantic", "safetensors", "medmetric"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "packages": packages,
        "cpu_cores": os.cpu_count(),
        "gpu": gpu.name if gpu else None,
        "gpu_memory_gib": gpu.total_memory / 2**30 if gpu else None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
