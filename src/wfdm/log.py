"""What a run says while it works: one logger, one progress bar, both on standard error.

Nothing here affects a number, so no code fingerprint holds it.
"""

import logging
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")

log = logging.getLogger("wfdm")


def start_logging() -> None:
    """Send the package's messages to standard error, a plain line each, at once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` behind a progress bar that is drawn at most every five seconds.

    Messages that come meanwhile get lines of their own.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with logging_redirect_tqdm([log]):
        yield from tqdm(items, what, total, mininterval=5)


def peak_memory_mb() -> float:
    """Return the most memory used so far, in MB: of the GPU where there is one, else resident."""
    torch = sys.modules.get("torch")  # not imported: no GPU memory was used
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e3)


class Rates:
    """Progress of a training: step, rates, memory and losses, a line every few seconds.

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

    def tick(self, step: int, losses: Mapping[str, Any]) -> None:
        """Log how far the work is, if the last line is old enough."""
        passed = time.monotonic() - self.time
        if passed < self.seconds:
            return
        rate = (step - self.step) / passed
        terms = " ".join(f"{name} {float(loss):.4g}" for name, loss in losses.items())
        speed = f"{rate:.2f} steps/s"
        if self.items > 1:
            speed += f" {rate * self.items:.2f} items/s"
        memory = f"{peak_memory_mb() / 1e3:.2f} GB"
        log.info(f"{self.name}: step {step}/{self.steps} {speed} {memory} {terms}")
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
