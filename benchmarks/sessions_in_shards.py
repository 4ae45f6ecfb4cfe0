"""What sessions cost in shards, against a command for each of them, as it was before.

    python benchmarks/sessions_in_shards.py --before CHECKOUT

CHECKOUT is this repository at 3e3b24b, where `wfdm phantom` and `wfdm preprocess` do one session.
The demo's sessions are made and preprocessed by both, two at a time: half of them by commands, the
shard, the other half, so that both meet the same machine. Reported are wall seconds and the CPU
seconds of all processes, of the commands alone (what Snakemake adds to every job is not counted),
and whether the raw scans, volumes, masks, transforms and pictures are the same byte for byte.
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
from hardware import describe

from wfdm.config.files import read_study
from wfdm.config.study import Study
from wfdm.data.pool import ONE_THREAD
from wfdm.data.sessions import Session, choose, sessions_of
from wfdm.data.table import read_table, rows_of
from wfdm.preprocess.shard import ENVIRONMENT
from wfdm.stages.plan import settings_of

ROOT = Path(__file__).parents[1]
PROCESSES = 2
SUBREAPER = 36  # of prctl(2): a descendant whose parent has ended becomes this process's child


# What the rules of single sessions ran with: Snakemake gave each its one thread, the rule of the
# preprocessing told the C library to keep its pages.
RULE = ONE_THREAD | {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
KEPT = {name: value for name, value in ENVIRONMENT.items() if name.startswith("MALLOC")}


def wfdm(checkout: Path, *arguments: object, **environment: str) -> None:
    """Run a `wfdm` command of a checkout."""
    command = [sys.executable, "-c", "from wfdm.cli import main; main()", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")} | environment
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def each(call: Callable[[Session], None], sessions: list[Session]) -> None:
    """Call for every session, two at a time."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(call, sessions))


class Before:
    """A command for each session."""

    def __init__(self, checkout: Path, study: Study, root: Path) -> None:
        self.checkout, self.study, self.root = checkout, study, root
        self.assets = ROOT / study.assets

    def phantoms(self, sessions: list[Session], shard: int) -> None:
        each(self._phantom, sessions)

    def preprocess(self, sessions: list[Session], shard: int) -> None:
        each(self._preprocess, sessions)

    def _common(self, session: Session) -> list[object]:
        scans = [f"{name}={path}" for name, path in session.scans.items()]
        return [
            *("--dataset", session.dataset, "--session", session.prefix),
            *(part for scan in scans for part in ("--scan", scan)),
        ]

    def _phantom(self, session: Session) -> None:
        (source,) = self.study.sources
        settings = {"seed": self.study.seed, "source": source.model_dump(mode="json")}
        wfdm(
            self.checkout,
            *("phantom", "--settings", json.dumps(settings), *self._common(session)),
            *("--head", self.assets / "sri24-head.nii", "--brain", self.assets / "sri24.nii"),
            *("--record", session.record(self.root / "raw", "raw")),
            **RULE,
        )

    def _preprocess(self, session: Session) -> None:
        section = self.study.preprocess.model_dump(mode="json")
        settings = {"seed": self.study.seed, "preprocess": section}
        wfdm(
            self.checkout,
            *("preprocess", "--settings", json.dumps(settings), *self._common(session)),
            *("--atlas", self.assets / "sri24.nii"),
            *("--atlas-head", self.assets / "sri24-head.nii"),
            *("--record", session.record(self.root / "preprocessed", "preproc"), "--tolerate"),
            **RULE | KEPT,
        )


class Shards:
    """A command for each shard."""

    def __init__(self, checkout: Path, study: Study, root: Path) -> None:
        self.checkout, self.study, self.root = checkout, study, root
        self.assets = ROOT / study.assets

    def _common(self, stage: str, folder: str, shard: int) -> list[object]:
        return [
            *(stage, "--settings", settings_of(self.study, stage)),
            *("--scans", self.root / "scans.tsv", "--root", self.root / folder),
            *("--logs", self.root / "logs" / stage, "--processes", PROCESSES),
            *("--out", self.root / folder / f"shard-{shard}.tsv"),
            *("--shard", shard, "--shards", self.study.shards),
        ]

    def phantoms(self, sessions: list[Session], shard: int) -> None:
        files = [f"{name}={self.assets / name}.nii" for name in ("sri24", "sri24-head")]
        given = [part for file in files for part in ("--asset", file)]
        wfdm(self.checkout, *self._common("phantom", "raw", shard), *given)

    def preprocess(self, sessions: list[Session], shard: int) -> None:
        wfdm(
            self.checkout,
            *self._common("preprocess", "preprocessed", shard),
            *("--atlas", self.assets / "sri24.nii"),
            *("--atlas-head", self.assets / "sri24-head.nii"),
        )


def measured(call: Callable[[], None]) -> tuple[float, float]:
    """Return wall and CPU seconds, those of orphaned descendants too."""
    wall, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    call()
    wall = time.perf_counter() - wall
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def compared(first: Path, second: Path) -> dict[str, int]:
    """Return how many files of what was made both have, and how many of them are the same."""
    kinds = (".nii.gz", ".mat", ".png")
    names = {
        path.relative_to(first)
        for folder in ("raw", "preprocessed")
        for path in (first / folder).rglob("*")
        if path.name.endswith(kinds)
    }
    theirs = {
        path.relative_to(second)
        for folder in ("raw", "preprocessed")
        for path in (second / folder).rglob("*")
        if path.name.endswith(kinds)
    }
    same = [
        name
        for name in names & theirs
        if (first / name).read_bytes() == (second / name).read_bytes()
    ]
    return {"files": len(names | theirs), "same": len(same)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1)
    study = read_study(ROOT / "config/config.yaml", ROOT / "config/demo.yaml")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "a command for each session": Before(arguments.before, study, Path(folder) / "before"),
            "shards": Shards(ROOT, study, Path(folder) / "shards"),
        }
        cohort = {}
        for name, way in ways.items():
            way.root.mkdir()
            wfdm(
                ROOT,
                *("index", "--settings", settings_of(study, "index"), "--raw", way.root / "raw"),
                *("--aliases", study.people.aliases, "--report", way.root / "report.tsv"),
                *("--people", way.root / "people.tsv", "--out", way.root / "scans.tsv"),
            )
            cohort[name] = sessions_of(rows_of(read_table(way.root / "scans.tsv")))
        before, shards = ways
        for shard in range(study.shards):
            for stage in ("phantoms", "preprocess"):
                old = choose(cohort[before], shard, study.shards, None)
                new = choose(cohort[shards], shard, study.shards, None)
                for name, sessions in ((before, old[::2]), (shards, new), (before, old[1::2])):
                    wall, cpu = measured(partial(getattr(ways[name], stage), sessions, shard))
                    rows.append(
                        {"shard": shard, "sessions": len(sessions), "stage": stage, "way": name}
                        | {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}
                    )
                    print(rows[-1], flush=True)
        table = pd.DataFrame(rows).assign(hardware=describe())
        table.to_csv(arguments.out / "sessions_in_shards.csv", index=False)
        total = table.groupby(["stage", "way"])[["wall_s", "cpu_s"]].sum()
        print(total.to_string(), total.groupby("way").sum().to_string(), sep="\n")
        print(total.to_string())
        print(compared(*(way.root for way in ways.values())))


if __name__ == "__main__":
    main()
