"""Tables 6 and 7: seconds and memory of a volume, by generator and by scheduler (paper, 3.4).

The paper's times are a GPU's. A time of a CPU stands in columns of its own, never beside them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wfdm.errors import UserError
from wfdm.tables.published import beside, read_published
from wfdm.tables.table5 import Scheduler
from wfdm.tables.text import number

MEASURED = ("Mean s/vol", "Median s/vol", "Std s/vol", "Peak mem. GB")
FORMATS = (".3f", ".3f", ".4f", ".3f")
OWN = (*(f"{name}, CPU" for name in MEASURED), "timed", "Load", "Hardware", "Weights", "volumes/s")
ON_CPU = "timed on a CPU: no time of a GPU"


def table6(
    timings: Mapping[str, Path | str],
    labels: Mapping[str, str],
    published: Path | str,
    note: str = "",
) -> pd.DataFrame:
    """Compare the times of generators (paper, table 6).

    Args:
        timings: JSON of the stage `benchmark` by the generator's key.
        labels: what each is called.
        published: the paper's table.
        note: how this study differs (`differences`).

    Raises:
        UserError: a file cannot be read or is no timing.
    """
    ours = {}
    for key, path in timings.items():
        told = _read(path)
        size = f"({', '.join(map(str, told['output_size']))})"
        steps = "N/A" if told["steps"] is None else str(told["steps"])
        names = {"Model": labels[key], "Steps": steps, "Output size": size}
        ours[key] = names | _cells(told)
    pairs = ("Steps", "Output size", *MEASURED)
    return beside(ours, read_published(published), pairs, OWN, note)


def table7(
    timings: Mapping[str, Path | str],
    schedulers: Mapping[str, Scheduler],
    published: Path | str,
    note: str = "",
) -> pd.DataFrame:
    """Compare the times of one model family's schedulers (paper, table 7).

    Args:
        timings: JSON of the stage `benchmark` of the row's generator, by the row's key.
        schedulers: by the row's key.
        published: the paper's table.
        note: how this study differs.

    Raises:
        UserError: a file cannot be read or is no timing.
    """
    ours = {}
    for key, path in timings.items():
        row = schedulers[key]
        names = {"Sampler": row.name.replace(" schedule)", ")")}
        names |= {"Pred. type": row.prediction, "Loss": row.loss, "Steps": str(row.steps)}
        ours[key] = names | _cells(_read(path))
    pairs = ("Pred. type", "Loss", "Steps", *MEASURED)
    return beside(ours, read_published(published), pairs, OWN, note, "Sampler")


def seconds(path: Path | str) -> dict[str, str]:
    """Return the mean seconds of a volume by column: a CPU's time has another than a GPU's.

    Raises:
        UserError: the file cannot be read or is no timing.
    """
    found = _cells(_read(path))
    return {name: found[name] for name in found if name.startswith(MEASURED[0])}


def _read(path: Path | str) -> dict[str, Any]:
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        _cells(told), told["steps"], list(told["output_size"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is no timing of the stage benchmark: {error!r}") from None
    return told


def _cells(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one timing, on a CPU in the columns for it."""
    seconds, where = told["seconds"], told["hardware"]
    on_cpu = where["kind"] != "GPU"
    values = [seconds["mean"], seconds["median"], seconds["sd"], told["peak_memory_gb"]]
    texts = [
        "" if value is None else number(float(value), style)
        for value, style in zip(values, FORMATS, strict=True)
    ]
    names = [f"{name}, CPU" if on_cpu else name for name in MEASURED]
    protocol = told["protocol"]
    return dict(zip(names, texts, strict=True)) | {
        "timed": f"{protocol['repeats']} after {protocol['warm_ups']}",
        "Load": f"{where['load']:g}",
        "Hardware": _hardware(where),
        "Weights": told["weights"],
        "volumes/s": _fastest(told["throughput"]),
        "note": ON_CPU if on_cpu else "",
    }


def _hardware(where: Mapping[str, Any]) -> str:
    versions = f"torch {where['torch']}"
    if where["kind"] == "GPU":
        return f"{where['name']}, {versions}, driver {where['driver']}"
    return f"{where['name']}, {where['threads']} threads, {versions}"


def _fastest(throughput: list[Mapping[str, Any]]) -> str:
    """Return the most volumes per second, and at which batch; nothing where it was not measured."""
    made = [each for each in throughput if "failed" not in each]
    best = max(made, key=lambda each: each["volumes_per_second"], default=None)
    return f"{best['volumes_per_second']:.3f} at batch {best['batch']}" if best else ""
