"""Progress lines of long work, on stderr."""

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


def say(line: str) -> None:
    """Print one line to stderr, at once."""
    print(line, file=sys.stderr, flush=True)


def peak_memory_mb() -> float:
    """Return the most memory used so far, in MB: of the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e3)


class Ticker:
    """Print step, rates, memory and losses every few seconds.

    Args:
        name: of the work.
        steps: in all.
        start: steps that were done before.
        seconds: between two lines.
        items: handled in one step.
    """

    def __init__(
        self, name: str, steps: int, start: int, seconds: float = 5.0, items: int = 1
    ) -> None:
        self.name, self.steps, self.seconds, self.items = name, steps, seconds, items
        self.start, self.began, self.away = start, time.monotonic(), 0.0
        self.step, self.time = start, self.began

    def tick(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Tell how far the work is, if the last line is old enough."""
        passed = time.monotonic() - self.time
        if passed < self.seconds:
            return
        rate = (step - self.step) / passed
        told = " ".join(f"{name} {float(loss):.4g}" for name, loss in losses.items())
        speed = f"{rate:.2f} steps/s"
        if self.items > 1:
            speed += f" {rate * self.items:.2f} items/s"
        memory = f"{peak_memory_mb() / 1e3:.2f} GB"
        say(f"{self.name}: step {step}/{self.steps} {speed} {memory} {told}")
        self.step, self.time = step, time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave a pause (such as a validation) out of the rates."""
        began = time.monotonic()
        yield
        lost = time.monotonic() - began
        self.away += lost
        self.time += lost

    def summary(self, step: int) -> dict[str, float]:
        """Return the steps since the start, seconds per step, items per second, peak memory."""
        steps = step - self.start
        seconds = time.monotonic() - self.began - self.away
        return {
            "steps": steps,
            "seconds_per_step": seconds / steps if steps else 0.0,
            "items_per_second": steps * self.items / seconds if seconds else 0.0,
            "peak_memory_mb": peak_memory_mb(),
        }
