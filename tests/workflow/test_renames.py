"""SIGKILL right before and right after each file of each stage gets its final name.

Each job is killed at one such moment after the other (`killer/sitecustomize.py`), and each run
goes on from what the killed ones left, until one ends by itself.
"""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.workflow.drill import TIMED, Drill, drilled
from tests.workflow.killer.sitecustomize import kind
from wfdm.provenance.digests import sha256_of
from wfdm.provenance.records import SUFFIX

KILLER = Path(__file__).with_name("killer")
TIMES = (*TIMED, "overview.html")  # this page tells run times
NO_RESULTS = {"tensorboard", "logs", "cache", "timing"}  # folders; timings are new every time
GROWING = ("compressors", "denoisers")  # a training's folder: each check writes its files anew


@pytest.fixture(scope="module")
def moments(tmp_path_factory) -> Path:
    """The file with the moments at which a job was killed."""
    return tmp_path_factory.mktemp("moments") / "drilled"


@pytest.fixture(scope="module")
def drill(finished, moments, tmp_path_factory) -> Iterator[Drill]:
    folder = tmp_path_factory.mktemp("renames")
    path = os.pathsep.join([str(KILLER), str(folder / "src"), os.environ.get("PYTHONPATH", "")])
    killer = {"PYTHONPATH": path, "RENAMES_DRILLED": str(moments)}
    with drilled(finished, folder, killer | {"RENAMES_ROOT": str(folder / "results")}) as made:
        yield made


def of_sessions(path: Path) -> bool:
    """Tell whether a file is a table of sessions: it holds digests of records, which tell times."""
    return path.match("raw/shard-*.tsv") or path.match("preprocessed/shard-*.tsv")


def told(path: Path) -> bytes:
    """A file's bytes; of a table of sessions without the digests, which are the last column."""
    content = path.read_bytes()
    if of_sessions(path):
        return b"\n".join(line.rpartition(b"\t")[0] for line in content.splitlines())
    return content


def results(drill: Drill) -> dict[Path, bytes]:
    """All results but curves and times; a dot marks what a killed job left."""
    root = drill.workflow.results
    found = (path for path in root.rglob("[!.]*") if path.is_file() and not path.is_symlink())
    kept = (path for path in found if not NO_RESULTS & {*path.parts})
    return {path: told(path) for path in kept if not path.name.endswith(TIMES)}


def nothing_half(drill: Drill, wanted: dict[Path, bytes], moment: str) -> None:
    """What has its final name is whole, and each record tells the truth of what it names.

    But for what tells times: made anew it has other bytes than those that the last record, which
    is written after it, saw. Snakemake makes it again.
    """
    root = drill.workflow.results
    for path, content in results(drill).items():
        if content != wanted.get(path):
            assert path.relative_to(root).parts[0] in GROWING, f"{moment}: {path}"
            if path.suffix == ".safetensors":
                safe_open(path, framework="numpy")  # raises where it was cut
            else:
                assert wanted[path].startswith(content), f"{moment}: {path}"
    for record in root.rglob(f"[!.]*{SUFFIX}"):
        for name, digest in json.loads(record.read_text())["outputs"].items():
            path = drill.workflow.folder / name
            if name.endswith(TIMES) or of_sessions(path) or "timing" in path.parts:
                continue
            assert not path.exists() or sha256_of(path) == digest, f"{moment}: {path}"


def kill_at_every_rename(drill: Drill, rule: str, moments: Path) -> list[str]:
    """Kill a job at one moment after the other, let it end, and return the moments."""
    wanted = results(drill)
    moments.write_text("")
    drill.remove(rule)
    while True:
        code, told = drill.run(rule)
        if code != -signal.SIGKILL:
            break
        nothing_half(drill, wanted, f"{rule}, {moments.read_text().splitlines()[-1]}")
    assert code == 0, f"{rule}: {told}"
    assert results(drill) == wanted, rule
    nothing_half(drill, wanted, rule)
    return moments.read_text().splitlines()


@pytest.mark.long
def test_killed_at_every_rename_ends_in_the_same_files(drill, moments):
    for rule, (_, outputs) in drill.jobs.items():
        drilled = kill_at_every_rename(drill, rule, moments)
        for path in outputs:
            for when in ("before", "after"):
                assert f"{when} {kind(path.name)} 1" in drilled, f"{rule}: {path.name}"
