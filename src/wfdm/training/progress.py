"""Progress lines of long work, on stderr."""

import sys
import time
from collections.abc import Mapping

from torch import Tensor


def say(line: str) -> None:
    """Print one line to stderr, at once."""
    print(line, file=sys.stderr, flush=True)


class Ticker:
    """Print step, rate and losses every few seconds."""

    def __init__(self, name: str, steps: int, start: int, seconds: float = 5.0) -> None:
        self.name, self.steps, self.seconds = name, steps, seconds
        self.step, self.time = start, time.monotonic()

    def tick(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Tell how far the training is, if the last line is old enough."""
        passed = time.monotonic() - self.time
        if passed < self.seconds:
            return
        rate = (step - self.step) / passed
        told = " ".join(f"{name} {float(loss):.4g}" for name, loss in losses.items())
        say(f"{self.name}: step {step}/{self.steps} {rate:.2f} steps/s {told}")
        self.step, self.time = step, time.monotonic()
