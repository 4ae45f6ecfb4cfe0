"""Rows of measurements: timed by the protocol, kept after each, within a budget of seconds."""

import gc
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.full_size.sizes import Sizes
from wfdm.atomic import write_text

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SEED = 42
# A row with less than this ahead of it is not begun: building and warming up would not fit.
LEAST_SECONDS = 4.0 if DEVICE.type == "cuda" else 0.5
SETTINGS = ("float32", "tf32", "bf16")

Part = Callable[[Any], Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        name: in the table.
        share: of the seconds that are left, relative to the rows still to come.
        work: seconds that it may take -> its results.
        wanted: settings that are told beside the results.
    """

    name: str
    share: float
    work: Callable[[float], Result]
    settings: dict[str, Any]


class Report:
    """The JSON file: hardware, sizes, rows, and what was left out."""

    def __init__(self, out: Path, deadline: float, sizes: Sizes) -> None:
        self.out, self.deadline = out, deadline
        self.content: dict[str, Any] = {
            "hardware": hardware(),
            "protocol": "batch 1 unless told, warm-ups, timed repeats, synchronised around each "
            "(table 6); seconds; GB are 1e9 bytes, reset before every row",
            "sizes": sizes.told(),
            "seed": SEED,
            "rows": [],
            "skipped": [],
        }
        self._keep()

    def measure(self, rows: Sequence[Row]) -> None:
        """Measure the rows in turn; one that fails is told and ends nothing."""
        for place, row in enumerate(rows):
            left = self.deadline - time.monotonic()
            if left < LEAST_SECONDS:
                self.content["skipped"] = [one.name for one in rows[place:]]
                print(f"out of time, skipped: {self.content['skipped']}", flush=True)
                break
            began = time.monotonic()
            allowed = left * row.share / sum(one.share for one in rows[place:])
            found = _tried(row, allowed)
            spent = {"allowed_s": round(allowed, 1), "spent_s": round(time.monotonic() - began, 1)}
            told = {"row": row.name, "settings": row.settings} | found | spent
            self.content["rows"].append(told)
            self._keep()
            print(json.dumps(told), flush=True)
        self._keep()

    def show(self) -> None:
        """Print the short table."""
        print(f"\n{json.dumps(self.content['hardware'])}")
        for row in self.content["rows"]:
            print(f"{row['row']:<44}{_line(row)}")
        print(f"skipped: {', '.join(self.content['skipped']) or 'nothing'}", flush=True)

    def _keep(self) -> None:
        write_text(self.out, json.dumps(self.content, indent=1) + "\n")


def _tried(row: Row, allowed: float) -> Result:
    try:
        free()
        return row.work(allowed)
    except torch.OutOfMemoryError as error:
        told = {"failed": "out of memory", "message": str(error).splitlines()[0][:300]}
        told |= peak()
    except Exception as error:
        told = {"failed": type(error).__name__, "message": str(error)[:300]}
    # Only here: within `except` the error's frames still hold the tensors.
    free()
    return told


def repeat(parts: dict[str, Part], sizes: Sizes, allowed: float, start: Any = None) -> Result:
    """Run the parts in turn, the result of each going into the next, by the protocol.

    Where they are slow there is one warm-up at least (a third of the time), then one repeat at
    least, then as many as fit.

    Returns:
        Seconds of the whole and, where there are several, of each part; peak memory.
    """
    began = time.monotonic()
    warm_ups = 0
    while warm_ups < sizes.warm_ups and (not warm_ups or time.monotonic() - began < allowed / 3):
        _once(parts, start)
        warm_ups += 1
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times: list[dict[str, float]] = []
    while len(times) < sizes.repeats:
        last = times[-1]["whole"] if times else 0
        if times and time.monotonic() - began + last > allowed:
            break
        times.append(_once(parts, start))
    names = ("whole", *parts) if len(parts) > 1 else ("whole",)
    seconds = {name: _summary([one[name] for one in times]) for name in names}
    return {"warm_ups": warm_ups, "n": len(times), "seconds": seconds} | peak()


def _once(parts: dict[str, Part], value: Any) -> dict[str, float]:
    times = {}
    synchronise()
    first = start = time.perf_counter()
    for name, part in parts.items():
        value = part(value)
        synchronise()
        now = time.perf_counter()
        times[name], start = now - start, now
    return times | {"whole": start - first}


def _summary(values: list[float]) -> dict[str, float]:
    found = {"mean": statistics.fmean(values), "median": statistics.median(values)}
    found["sd"] = statistics.stdev(values) if len(values) > 1 else 0.0
    found |= {"min": min(values), "max": max(values)}
    return {name: float(f"{value:.5g}") for name, value in found.items()}


def _line(row: Result) -> str:
    if "failed" in row:
        return f"{row['failed']}: {row['message'][:60]}"
    if "seconds" not in row:
        return "  ".join(f"{key} {value}" for key, value in row.items() if _told(key))
    whole = row["seconds"]["whole"]
    line = f"{whole['mean']:9.4f} s +- {whole['sd']:.4f} (n {row['n']})"
    parts = [f"{k} {v['mean']:.4f}" for k, v in row["seconds"].items() if k != "whole"]
    if "samples_per_s" in row:
        parts.append(f"{row['samples_per_s']} samples/s")
    if "peak_gb" in row:
        parts.append(f"peak {row['peak_gb']} GB")
    return "  ".join([line, *parts])


def _told(key: str) -> bool:
    return key not in ("row", "settings", "allowed_s", "spent_s")


def peak() -> Result:
    """Return the most memory held by tensors, and by torch's allocator, since the reset."""
    if DEVICE.type != "cuda":
        return {}
    held, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return {"peak_gb": round(held / 1e9, 2), "peak_reserved_gb": round(reserved / 1e9, 2)}


def free() -> None:
    """Give back what no tensor holds, and begin to watch the peak anew."""
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def synchronise() -> None:
    """Wait for the GPU."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def arithmetic(setting: str) -> AbstractContextManager:
    """Switch TF32 on or off for all that follows; return the autocast to compute under."""
    fast = setting != "float32"
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast
    return torch.autocast(DEVICE.type, torch.bfloat16) if setting == "bf16" else nullcontext()


def default_arithmetic() -> None:
    """Put torch's own choice back, under which the study trains."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True


@torch.no_grad()
def randomise_zeros(model: nn.Module, generator: torch.Generator) -> int:
    """Draw every weight that is exactly zero from N(0, 1 / (3 fan-in)); return their number.

    The models start as almost nothing (their last convolutions and residual branches are zero),
    which would make rounding errors meaninglessly small. This is the size that torch gives a
    fresh layer; normalisations and biases stay.
    """
    changed = 0
    for weight in model.parameters():
        if weight.dim() < 2:
            continue
        zeros = weight == 0
        scale = (3 * weight[0].numel()) ** -0.5
        drawn = torch.randn(weight.shape, generator=generator, device=weight.device) * scale
        weight.copy_(torch.where(zeros, drawn, weight))
        changed += int(zeros.sum())
    return changed


def hardware() -> dict[str, Any]:
    """Return names and versions."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "threads": torch.get_num_threads(),
    }
    if DEVICE.type != "cuda":
        return {"name": f"CPU ({platform.machine()})"} | found
    properties = torch.cuda.get_device_properties(DEVICE)
    memory = round(properties.total_memory / 1e9, 1)
    return {"name": properties.name, "memory_gb": memory, "driver": _driver()} | found


def _driver() -> str:
    asked = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
