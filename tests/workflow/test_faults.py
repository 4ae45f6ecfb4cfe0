"""Faults: a read-only disk, two at once, files that were cut short, missing rights.

After each, running again gives what an undisturbed run gave; and each failure is one line.
"""

import contextlib
import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import Workflow
from tests.workflow.drill import Drill, drilled
from wfdm.atomic import alone
from wfdm.data.shards import shard_of


@pytest.fixture(scope="module")
def drill(finished, tmp_path_factory) -> Iterator[Drill]:
    with drilled(finished, tmp_path_factory.mktemp("drill")) as made:
        yield made


@pytest.fixture
def disk(drill) -> Drill:
    if not drill.mounted:
        pytest.skip("a disk of one's own takes the right to mount one (root)")
    return drill


def test_a_read_only_disk_is_one_line_and_changes_nothing(disk):
    for rule in disk.jobs:
        wanted = disk.made(rule)
        with disk.read_only():
            told = disk.refused(rule)
        assert os.strerror(errno.EROFS) in told, f"{rule}: {told}"
        assert disk.made(rule) == wanted, rule


def told_by(printed: str, fault: int) -> set[str]:
    """The lines about a fault of the machine in what Snakemake printed, of a job or its own."""
    assert "Traceback" not in printed, printed[-6000:]
    lines = {line.strip().removeprefix("wfdm: ") for line in printed.splitlines()}
    return {line for line in lines if line.startswith(f"{os.strerror(fault)}: ")}


def test_a_disk_that_fills_up_in_a_training_is_one_line_and_room_mends_it(disk):
    """By Snakemake, whose logs lie on the full disk too."""
    workflow, rule = disk.workflow, "train_compressor"
    wanted, folder = disk.made(rule), disk.jobs[rule][1][0].parent
    state = folder / "last" / "state.safetensors"
    target = os.path.relpath(folder / "model.safetensors", workflow.folder)
    room = state.stat().st_size * 3 // 2  # for one state, but not for the next one beside it
    disk.remove(rule)
    disk.size(shutil.disk_usage(folder.parent).used + room)
    (line,) = told_by(workflow.run(target, code=1), errno.ENOSPC)
    assert str(folder.relative_to(workflow.folder)) in line and "free space and run again" in line
    assert state.exists() and not (folder / "model.safetensors").exists(), "not in the middle"
    disk.size("50%")
    workflow.run(target)
    assert "continuing after step" in (workflow.results / f"logs/{rule}/wf-sa-vae.log").read_text()
    assert disk.made(rule) == wanted


def test_a_run_on_a_read_only_disk_is_told_so_and_changes_nothing(disk):
    workflow = disk.workflow
    path, wanted = disk.jobs["coverage"][1][0], disk.made("coverage")
    target = os.path.relpath(path, workflow.folder)
    with disk.read_only():
        printed = workflow.run(target, "--forcerun", "coverage", code=1)
    assert "Write-protected output files for rule coverage" in printed and target in printed
    assert disk.made("coverage") == wanted

    workflow.run(target)  # marks the folder, which has moved, as a results root
    path.unlink()  # so that Snakemake cannot see it beforehand
    with disk.read_only():
        (line,) = told_by(workflow.run(target, code=1), errno.EROFS)
    root = os.path.relpath(workflow.results, workflow.folder)
    assert root in line and "mount it for writing" in line
    workflow.run(target)
    assert disk.made("coverage") == wanted


def test_one_output_is_made_by_one_process_at_a_time(drill):
    for rule, (_, outputs) in drill.jobs.items():
        wanted = drill.made(rule)
        with contextlib.ExitStack() as held:
            for path in outputs:  # the record, and so the lock, lies beside one of them
                held.enter_context(alone(path))
            told = drill.refused(rule)
        assert "another process is making it; wait for that one" in told, f"{rule}: {told}"
        assert drill.made(rule) == wanted, rule


def test_two_that_begin_at_once_leave_what_one_would(drill):
    arguments, _ = drill.jobs["encode"]
    wanted = drill.made("encode")
    code = "from wfdm.cli import main; main()"
    for _ in range(2):
        drill.remove("encode")
        both = [
            subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                cwd=drill.workflow.folder,
                env=drill.workflow.environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        told = [process.communicate()[1] for process in both]
        codes = sorted(process.returncode for process in both)
        assert codes in ([0, 0], [0, 1]), told
        assert codes == [0, 0] or any("another process is making it" in text for text in told)
        assert drill.made("encode") == wanted


def cut(path: Path) -> bytes:
    """Leave the first half of a file; return the whole."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole


def test_a_cut_latent_is_named_by_a_training(drill):
    """The record of its index says nothing of the shards."""
    wanted = drill.made("train_denoiser")
    drill.remove("train_denoiser")
    path = next(path for path in drill.jobs["encode"][1] if path.suffix == ".npy")
    cut(path)
    told = drill.refused("train_denoiser")
    assert str(path.relative_to(drill.workflow.folder)) in told
    assert "remove it, and the tables beside it, and run again" in told
    path.unlink()
    for rule in ("encode", "latents", "train_denoiser"):
        drill.again(rule)
    assert drill.made("train_denoiser") == wanted


def test_a_cut_cache_of_volumes_is_not_read_as_zeros(drill):
    wanted = drill.made("train_compressor")
    drill.remove("train_compressor")
    for path in (drill.workflow.results / "cache").glob("*.f16"):
        cut(path)
    told = drill.refused("train_compressor")
    assert ".f16: cut short; remove it" in told
    shutil.rmtree(drill.workflow.results / "cache")
    drill.again("train_compressor")
    assert drill.made("train_compressor") == wanted


def test_a_cut_volume_is_named_and_made_again(drill):
    table = pd.read_csv(drill.workflow.results / "preprocessed" / "volumes.tsv", sep="\t")
    path = drill.workflow.folder / table["path"][0]
    whole = cut(path)
    told = drill.refused("image_hash" if shard_of(table["scan_id"][0], 2) == 0 else "mean_volumes")
    assert str(table["path"][0]) in told and "remove it and make it again" in told
    path.unlink()
    volumes = drill.workflow.results / "preprocessed" / "volumes.tsv"
    target = str(volumes.relative_to(drill.workflow.folder))
    drill.workflow.run(target, "--forcerun", "preprocess")
    assert path.read_bytes() == whole


def test_a_second_snakemake_in_one_folder_is_told_so(finished, tmp_path):
    workflow = finished.twin(tmp_path)
    target = str((workflow.results / "data" / "coverage.tsv").relative_to(workflow.folder))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--forcerun", "coverage"]
    command += [target, "--configfile", *workflow.configs]
    given = {"cwd": workflow.folder, "env": workflow.environment, "text": True}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    first = subprocess.Popen(command, **given, **pipes)
    while not list((workflow.folder / ".snakemake" / "locks").glob("*")):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.02)
    first.send_signal(signal.SIGSTOP)
    second = subprocess.run(command, **given, **pipes)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1 and "Directory cannot be locked" in second.stdout
    assert first.wait() == 0, first.communicate()[0]


def test_rights_that_are_missing_are_one_line(finished, tmp_path):
    """Root may write everywhere: it is run without that one right."""
    workflow = finished.twin(tmp_path)
    ((arguments, outputs),) = workflow.jobs()["coverage"]
    without = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    call = [*without, sys.executable, "-c", "from wfdm.cli import main; main()", *arguments]
    kept, folder = outputs[0].read_bytes(), outputs[0].parent
    folder.chmod(0o555)
    done = subprocess.run(
        call, cwd=tmp_path, env=workflow.environment, capture_output=True, text=True
    )
    folder.chmod(0o755)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"wfdm: {os.strerror(errno.EACCES)}: ")
    assert "give this user the right to it" in done.stderr
    assert outputs[0].read_bytes() == kept


def test_names_are_no_commands_to_the_shell(tmp_path):
    """Paths and labels of a configuration pass through the shell as they are."""
    odd = "a b'c\"; touch made; $(touch made) `touch made` & |"
    image = tmp_path / "data" / odd / "LAB" / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    workflow = Workflow.copied(tmp_path, ["config/demo.yaml"]).over(
        study=odd,
        results=f"results/{odd}",
        sources=[{"kind": "bids", "path": f"data/{odd}"}],
        compressors={"wf-sa-vae": {"label": odd}},
    )
    workflow.run(f"results/{odd}/data/coverage.tsv")
    assert (tmp_path / "results" / odd / "data" / "coverage.tsv").is_file()
    assert not list(tmp_path.rglob("made"))
    printed = workflow.run("--dry-run", "--printshellcmds", f"results/{odd}/tables/table3.csv")
    label = f"wf-sa-vae={odd}"
    commands = [line for line in printed.splitlines() if "wfdm table3 " in line]
    assert commands and all(label in shlex.split(line.split(" 2>&1")[0]) for line in commands)
