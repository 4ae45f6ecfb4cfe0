"""What the figures were measured on."""

import os
import platform
from pathlib import Path


def hardware() -> str:
    """Return the processor's name, the number of cores and of the system's memory."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    flags = Path("/proc/cpuinfo").read_text()
    best = next((f for f in ("amx_tile", "avx512f", "avx2") if f in flags), "no AVX2")
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores ({best}), "
        f"{memory:.0f} GiB"
    )
