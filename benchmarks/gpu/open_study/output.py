"""What the study leaves behind: results, tables, weights and arrays, each file always whole."""

import csv
import json
import math
import os
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from wfdm.atomic import atomic_path, write_text


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


def versions() -> dict[str, Any]:
    """Return the hardware and the versions."""

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
