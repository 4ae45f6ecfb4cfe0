"""A finished study whose jobs are run again one by one, while something goes wrong.

Its results lie on a disk of their own where one can be mounted.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.workflow.conftest import Workflow
from tests.workflow.zygote import Zygote

LATER = ("asset", "all", "tables", "figures", "snapshot")
TIMED = (".prov.json", "quality.html", "state.safetensors")  # tell times, or how far a job had come


class Drill:
    """A finished study whose results lie on a disk of their own, and its jobs."""

    def __init__(self, workflow: Workflow, mounted: bool, environment: Mapping[str, str]) -> None:
        self.workflow, self.mounted = workflow, mounted
        self.zygote = Zygote(workflow.folder, environment)
        jobs = workflow.jobs()
        self.jobs = {rule: found[0] for rule, found in jobs.items() if rule not in LATER}
        (self.jobs["train_compressor"],) = (
            job for job in jobs["train_compressor"] if "wf-sa-vae" in job[1][0].parts
        )

    def run(self, rule: str) -> tuple[int, str]:
        """Run the first job of a rule."""
        return self.zygote.run(self.jobs[rule][0])

    def refused(self, rule: str) -> str:
        """Run a job that must fail, and return its one line."""
        code, told = self.run(rule)
        assert code == 1, f"{rule}: {told}"
        lines = [line for line in told.replace("\r", "\n").splitlines() if line.strip()]
        said = [line for line in lines if "steps/s" not in line]  # the denoiser is called wfdm too
        assert said[-1].startswith("wfdm: ") and "Traceback" not in told, f"{rule}: {told}"
        assert sum(line.startswith("wfdm: ") for line in said) == 1, f"{rule}: {told}"
        return said[-1]

    def again(self, rule: str) -> None:
        """Run a job that must succeed."""
        code, told = self.run(rule)
        assert code == 0, f"{rule}: {told}"

    def made(self, rule: str) -> dict[Path, bytes]:
        """What a job made: its outputs, or all that lies in their folder, without the times."""
        outputs = self.jobs[rule][1]
        if rule in ("train_compressor", "train_denoiser", "sample"):
            outputs = [path for path in outputs[0].parent.rglob("*") if path.is_file()]
        kept = [path for path in outputs if path.exists() and "tensorboard" not in path.parts]
        return {path: path.read_bytes() for path in kept if not path.name.endswith(TIMED)}

    def remove(self, rule: str) -> None:
        """Remove what a job made, as Snakemake does, and one of the things it works through."""
        for path in self.jobs[rule][1]:
            path.unlink(missing_ok=True)
        folder = self.jobs[rule][1][0].parent
        if rule.startswith("train"):
            shutil.rmtree(folder)
        if rule in ("phantom", "preprocess", "sample"):
            shutil.rmtree(min(folder.rglob("*.nii.gz")).parent)

    def size(self, size: int | str) -> None:
        """Give the disk another size: bytes, or a share of the memory."""
        mount(self.workflow.results.parent, f"remount,size={size}")

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Mount the disk so that nothing can be written."""
        mount(self.workflow.results.parent, "remount,ro")
        try:
            yield
        finally:
            mount(self.workflow.results.parent, "remount,rw")


def mount(folder: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def drilled(
    finished: Workflow, folder: Path, killer: Mapping[str, str] | None = None
) -> Iterator[Drill]:
    """Copy a finished study into `folder` for a drill; `killer` are variables for its jobs."""
    workflow = finished.twin(folder)
    disk, aside = folder / "results", folder / "aside"
    disk.rename(aside)
    disk.mkdir()
    mounted = True
    try:
        mount(disk, "rw")
    except (OSError, subprocess.CalledProcessError):
        mounted = False
    shutil.copytree(aside, disk, symlinks=True, dirs_exist_ok=True)
    drill = Drill(workflow, mounted, workflow.environment | (killer or {}))
    try:
        yield drill
    finally:
        drill.zygote.close()
        if mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
