"""What a time was measured on: without it, no time says anything."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from wfdm.accelerator import accelerator

GPU, CPU = "GPU", "CPU"


def hardware() -> dict[str, Any]:
    """Return the machine and the versions, as JSON.

    Returns:
        kind: "GPU" or "CPU", by where models work here; name, of that; processor, cores that this
        process may use, threads of torch, load (tasks that ran in the last minute, before the
        measurement: on a busy machine a time is longer); versions; of a GPU memory, driver, and
        whether products and convolutions round to TF32.
    """
    gpu = accelerator().type == "cuda"
    processor = _processor()
    found = {
        "kind": GPU if gpu else CPU,
        "name": torch.cuda.get_device_name() if gpu else processor,
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    return found | _gpu() if gpu else found


def _gpu() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(accelerator())
    return {
        "memory_gb": round(properties.total_memory / 1e9, 1),
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
    }


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        listed = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2] for line in listed.splitlines() if "model name" in line)
    return next(names, platform.machine()).strip()


def _driver() -> str | None:
    asked = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().partition("\n")[0] or None
