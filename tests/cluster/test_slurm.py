"""The command that the study is meant for, on a real scheduler, and what goes wrong there."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import accounting
from tests.cluster.slurm import Cluster, ask
from tests.workflow.conftest import Workflow

pytestmark = pytest.mark.slow

# As a user runs it, but for the waits between looks at the queue.
SLURM = (
    *("--profile", "slurm", "--latency-wait", "5", "--seconds-between-status-checks", "2"),
    *("--slurm-init-seconds-before-status-checks", "2", "--nolock"),
)
DENOISER = "denoisers/wfdm"
YOUNG = 25
"""Seconds; SLURM does not miss a job on its node in its first 20, for it may still begin there."""
STARTED: list[subprocess.Popen] = []
"""by the test that runs"""


@pytest.fixture
def untrained(finished, tmp_path) -> Workflow:
    """The finished study without its denoiser."""
    workflow = finished.twin(tmp_path)
    shutil.rmtree(workflow.results / DENOISER)
    return workflow


@pytest.fixture(autouse=True)
def nothing_left(cluster) -> Iterator[None]:
    """End what a failed test left, so that no other waits for it."""
    yield
    for process in STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    STARTED.clear()
    subprocess.run(["scancel", "--me"], check=True)
    empty()


@pytest.fixture(scope="module")
def accounts(cluster) -> Iterator[None]:
    """Of a cluster that keeps accounts, and takes no job of another account."""
    if why := accounting.missing():
        pytest.skip(why)
    with accounting.accounting(cluster):
        yield


def train(workflow: Workflow, *options: str) -> subprocess.Popen:
    """Ask for the denoiser, on the cluster."""
    weights = os.path.relpath(workflow.results / DENOISER / "model.safetensors", workflow.folder)
    STARTED.append(workflow.start(weights, *options, where=SLURM))
    return STARTED[-1]


def empty(seconds: float = 120) -> None:
    """Wait until no job waits or runs."""
    end = time.monotonic() + seconds
    while left := ask("squeue", "-h"):
        assert time.monotonic() < end, left
        time.sleep(1)


def until(happened: Callable[[], object], process: subprocess.Popen, seconds: float = 120) -> None:
    """Wait for something to happen while a process runs."""
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()[0][-6000:]
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def ends_well(process: subprocess.Popen, workflow: Workflow, finished: Workflow) -> str:
    """Wait for the end; the weights must be those of the undisturbed training."""
    printed = process.communicate()[0]
    assert process.returncode == 0, printed[-6000:]
    for name in ("model.safetensors", "history.csv", "last/state.safetensors"):
        path = Path(DENOISER) / name
        assert (workflow.results / path).read_bytes() == (finished.results / path).read_bytes()
    return printed


def jobs_of(workflow: Workflow, cluster: Cluster) -> list[dict[str, str]]:
    """Return the jobs of a workflow that ended."""
    return [job for job in cluster.completed() if job["WorkDir"] == str(workflow.folder)]


def begun(workflow: Workflow) -> bool:
    """Tell whether the training has kept a state."""
    return (workflow.results / DENOISER / "last/state.safetensors").exists()


def running() -> str:
    """Return the number of the job that runs."""
    return ask("squeue", "-h", "-t", "R", "-o", "%i")


def starts_again(job: str, process: subprocess.Popen) -> None:
    """Wait until SLURM has put a job back in its queue, and do without its two minutes there."""
    until(lambda: "Restarts=1" in ask("scontrol", "show", "job", job), process)
    until(lambda: ask("squeue", "-h", "-j", job, "-t", "PD", "-o", "%i"), process)
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)


@pytest.mark.long
def test_the_study_comes_out_as_on_one_machine(cluster, made, tmp_path):
    workflow = made.twin(tmp_path)
    shutil.rmtree(workflow.results)
    shutil.rmtree(workflow.folder / ".snakemake")
    table = os.path.relpath(workflow.results / "tables/table4.csv", workflow.folder)
    workflow.run(table, where=SLURM)
    ours, theirs = workflow.results / "tables/table4.csv", made.results / "tables/table4.csv"
    assert ours.read_bytes() == theirs.read_bytes()
    jobs = jobs_of(workflow, cluster)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert {job["Partition"] for job in jobs} == {"main"}
    code, told = workflow.wfdm("audit", table)
    assert code == 0, told


def test_a_training_whose_time_is_nearly_over_waits_again_and_continues(
    cluster, finished, untrained
):
    process = train(untrained)
    until(lambda: begun(untrained), process)
    job = running()
    subprocess.run(["scancel", "--signal=USR1", job], check=True)  # as SLURM does before the end
    starts_again(job, process)
    ends_well(process, untrained, finished)
    assert continued(untrained)
    assert [each["JobId"] for each in jobs_of(untrained, cluster)].count(job) == 2


def test_a_training_that_is_cancelled_keeps_its_state_and_is_tried_again(
    cluster, finished, untrained
):
    process = train(untrained)
    until(lambda: begun(untrained), process)
    subprocess.run(["scancel", running()], check=True)
    ends_well(process, untrained, finished)
    assert continued(untrained)


def test_a_node_that_dies_under_a_job_changes_no_result(cluster, finished, untrained):
    process = train(untrained)
    until(lambda: begun(untrained), process)
    job = running()
    cluster.crash(job)
    time.sleep(YOUNG)
    cluster.start_node()
    starts_again(job, process)
    ends_well(process, untrained, finished)


def test_a_scheduler_that_dies_and_returns_changes_no_result(cluster, finished, untrained):
    process = train(untrained)
    until(lambda: begun(untrained), process)
    cluster.kill("slurmctld")
    time.sleep(5)
    cluster.start_scheduler()
    ends_well(process, untrained, finished)


def test_snakemake_killed_and_started_again_changes_no_result(cluster, finished, untrained):
    process = train(untrained)
    until(lambda: begun(untrained), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    empty()  # its job goes on, and holds its folder
    ends_well(train(untrained), untrained, finished)


def test_a_job_that_needs_more_memory_gets_it_in_the_next_try(cluster, finished, untrained):
    memory = "train_denoiser:mem_mb=150 if attempt < 2 else 8000"
    printed = ends_well(train(untrained, "--set-resources", memory), untrained, finished)
    assert "Trying to restart job" in printed
    first, *_, last = jobs_of(untrained, cluster)
    assert (first["JobState"] == "COMPLETED", last["JobState"]) == (False, "COMPLETED")


def test_account_and_partition_are_those_that_were_asked_for(accounts, finished, untrained):
    asked = ("slurm_account=lab", "slurm_partition=other")
    sacct = ("--slurm-status-command", "sacct")
    ends_well(train(untrained, "--default-resources", *asked, *sacct), untrained, finished)
    told = ask("sacct", "--allusers", "-X", "-n", "-P", "-o", "Account,Partition,State,WorkDir")
    ours = [line for line in told.splitlines() if line.endswith(f"|{untrained.folder}")]
    assert ours == [f"lab|other|COMPLETED|{untrained.folder}"]


def test_an_account_that_is_unknown_is_told_and_changes_nothing(accounts, untrained):
    printed = train(untrained, "--default-resources", "slurm_account=nobody").communicate()[0]
    assert "account" in printed and "nobody" in printed, printed[-6000:]
    assert "Traceback" not in printed
    assert not (untrained.results / DENOISER).exists()


def continued(workflow: Workflow) -> bool:
    """Tell whether the training went on from a state."""
    log = (workflow.results / "logs/train_denoiser/wfdm.log").read_text()
    return "continuing after step" in log
