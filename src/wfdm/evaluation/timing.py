"""How long a generator takes, by the paper's protocol (3.4; tables 6 and 7).

Warm-ups, then timed calls of batch 1. The clock is read just before and after each call, when all
the GPU's work is done; models are loaded before, and nothing is written.
"""

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch

from wfdm.accelerator import accelerator
from wfdm.log import peak_memory_mb

BATCH_REPEATS = 3
Make = Callable[[int, int], list[np.ndarray]]
"""makes volumes: how many at once, the number of the call -> the volumes"""


@dataclass(frozen=True)
class Timing:
    """What was measured.

    Attributes:
        seconds: of each timed call, in order.
        warm_ups: seconds of each call before them.
        peak_gb: most memory during the timed calls, in units of 1e9 bytes: tensors on the GPU; on
            a CPU what the whole process held, from its start.
        size: voxels of a volume.
    """

    seconds: tuple[float, ...]
    warm_ups: tuple[float, ...]
    peak_gb: float
    size: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, with mean, median and standard deviation (n - 1), as JSON."""
        return {
            "output_size": list(self.size),
            "seconds": {
                "mean": statistics.fmean(self.seconds),
                "median": statistics.median(self.seconds),
                # Of one call there is none.
                "sd": statistics.stdev(self.seconds) if len(self.seconds) > 1 else None,
                "each": list(self.seconds),
                "warm_ups": list(self.warm_ups),
            },
            "peak_memory_gb": self.peak_gb,
        }


def timed(make: Make, warm_ups: int, repeats: int, batch: int = 1) -> Timing:
    """Time a generator.

    Args:
        make: makes volumes; every call has a number of its own.
        warm_ups: calls that are not counted; at least one.
        repeats: calls that are.
        batch: volumes of a call.
    """
    before = [_once(make, batch, number) for number in range(warm_ups)]
    gc.collect()  # not while the clock runs
    _reset_peak()
    timed = [_once(make, batch, number) for number in range(warm_ups, warm_ups + repeats)]
    peak = peak_memory_mb() / 1e3
    seconds, sizes = zip(*timed, strict=True)
    return Timing(seconds, tuple(each for each, _ in before), peak, sizes[-1])


def throughput(make: Make, batches: list[int]) -> list[dict[str, Any]]:
    """Return volumes per second when several are asked for at once, for each of `batches`.

    A batch that does not fit the GPU's memory is told as such.
    """
    found: list[dict[str, Any]] = []
    for batch in batches:
        try:
            timing = timed(make, 1, BATCH_REPEATS, batch)
        except torch.OutOfMemoryError:
            found.append({"batch": batch, "failed": "out of memory"})
            continue
        mean = statistics.fmean(timing.seconds)
        told = {"seconds": mean, "volumes_per_second": batch / mean}
        found.append({"batch": batch} | told | {"peak_memory_gb": timing.peak_gb})
    return found


def _once(make: Make, batch: int, number: int) -> tuple[float, tuple[int, ...]]:
    """Return the seconds of a call, and the size of its volumes."""
    _synchronise()
    start = perf_counter()
    volumes = make(batch, number)
    _synchronise()
    seconds = perf_counter() - start
    return seconds, volumes[-1].shape


def _synchronise() -> None:
    if accelerator().type == "cuda":
        torch.cuda.synchronize()


def _reset_peak() -> None:
    if accelerator().type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
