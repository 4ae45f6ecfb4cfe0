"""Commands that `benchmarks.rates` measures: a stage on a few items of the study's size, or fewer.

Nothing here imports torch: a command's peak memory begins with what its parent holds.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wfdm.config.features import FeatureSettings
from wfdm.config.memorisation import MemorisationSettings
from wfdm.config.study import Study
from wfdm.data.shards import shard_of, shard_path
from wfdm.stages.plan import settings_of

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "resources/assets"
WFDM = (sys.executable, "-c", "from wfdm.cli import main; main()")
INPUTS = (sys.executable, "-m", "benchmarks.rates_inputs")
SHARDS, LATENTS = 64, 24
SCAN = "A/sub-00000_T1w"
SUBREAPER = 36  # of prctl(2): a descendant whose parent has ended becomes this process's child


@dataclass(frozen=True)
class Rate:
    """One row: a command on `items`, and on `fewer` of them; None: what is left is no start."""

    name: str
    item: str
    items: int
    command: tuple
    fewer: int = 0
    smaller: tuple | None = None
    written: Path | None = None
    """file or folder of what it makes of its items"""
    before: Callable[[], object] | None = None
    """what makes its inputs"""


def measured(command: tuple, log: Path) -> dict[str, float]:
    """Run a command on one thread; return CPU-seconds and peak memory in MB, of descendants too."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    with log.open("w") as stream:
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, env=os.environ | threads,
            stdout=stream, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(map(str, command))[:300]}: see {log}")
    used = [usage]
    while True:  # what it leaves, such as the server of a pool of processes
        try:
            used.append(os.wait3(0)[2])
        except ChildProcessError:
            break
    return {
        "cpu_s": sum(each.ru_utime + each.ru_stime for each in used),
        "peak_mb": max(each.ru_maxrss for each in used) / 1024,
    }


def study() -> Study:
    """Return the paper's study and its audit without the weights that have to be fetched."""
    given = Study()
    features = FeatureSettings(depth=50, weights=None)
    judged = given.evaluation.model_copy(update={"lpips": None, "features": features})
    update = {"evaluation": judged, "memorisation": MemorisationSettings()}
    return given.model_copy(update=update)


def stage(name: str, *arguments: object, **names: str) -> tuple:
    """Return the command of a stage with its settings."""
    settings = settings_of(study(), name.replace("-", "_"), **names)
    return (*WFDM, name, "--settings", settings, *arguments)


def of_shards(name: str, item: str, folder: Path, suffix: str, *arguments, **names: str) -> Rate:
    """Return a stage on the shard of one scan, and on an empty one: what is left is the start."""
    mine = shard_of(SCAN, SHARDS)
    commands, outs = [], []
    for shard in (mine, (mine + 1) % SHARDS):
        outs.append(shard_path(folder, shard, SHARDS, suffix))
        part = ("--shard", shard, "--shards", SHARDS, "--out", outs[-1])
        commands.append(stage(name, *arguments, *part, **names))
    return Rate(name, item, 1, commands[0], 0, commands[1], outs[0])


def by_size(name: str, item: str, out: Path, counts: tuple[int, int], make, before=None) -> Rate:
    """Return a stage on two sizes of its inputs; `make` gives its arguments."""
    fewer, more = (make(count, out.with_name(f"{count}-{out.name}")) for count in counts)
    return Rate(
        *(name, item, counts[1], more, counts[0], fewer),
        *(out.with_name(f"{counts[1]}-{out.name}"), before),
    )
