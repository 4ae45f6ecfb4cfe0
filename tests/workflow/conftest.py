"""The tiny study, run by Snakemake in a copy of the checkout, as a user would."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import pytest
import yaml
from nibabel.processing import resample_to_output

ROOT = Path(__file__).parents[2]
COPIED = ("Snakefile", "workflow", "config", "src", "profiles", "slurm")
LAB = ("one", "two")  # people of the study who are no phantoms; each in a shard of its own


class Workflow:
    """A copy of the checkout with a study in it, so that code may be edited and files changed."""

    def __init__(self, folder: Path, configs: list[str]) -> None:
        self.folder, self.configs = folder, configs

    @classmethod
    def copied(cls, folder: Path, configs: list[str]) -> "Workflow":
        """Copy the checkout; `configs` are its files and overlays, later ones over earlier ones."""
        for name in COPIED:
            path = ROOT / name
            if path.is_dir() and not path.is_symlink():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(path, folder / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy2(path, folder / name, follow_symlinks=False)
        return cls(folder, configs).over(assets=str(ROOT / "resources/assets"))

    def over(self, **settings: object) -> "Workflow":
        """The same study, in the same folder, with other settings."""
        for number in itertools.count():
            path = self.folder / f"over-{number}.yaml"
            if not path.exists():
                break
        path.write_text(yaml.safe_dump(settings))
        return Workflow(self.folder, [*self.configs, path.name])

    def twin(self, folder: Path) -> "Workflow":
        """The same checkout and all that was made in it, once more, as if it had been made there.

        Paths within a study are relative, and Snakemake remembers files by them.
        """
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Workflow(folder, self.configs)

    @property
    def results(self) -> Path:
        """Where the study's results lie."""
        roots = [yaml.safe_load((self.folder / path).read_text()) for path in self.configs]
        return self.folder / next(root["results"] for root in reversed(roots) if "results" in root)

    @property
    def environment(self) -> dict[str, str]:
        """Of commands that use the copy's code."""
        source = [str(self.folder / "src"), os.environ.get("PYTHONPATH", "")]
        binaries = [str(Path(sys.executable).parent), os.environ["PATH"]]
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, source)),
            "PATH": os.pathsep.join(binaries),
        }

    def start(self, *arguments: str, cores: int = 2) -> subprocess.Popen:
        """Start Snakemake in a process group of its own."""
        command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--nolock"]
        return subprocess.Popen(
            [*command, *arguments, "--configfile", *self.configs],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run Snakemake to its end and return what it printed."""
        process = self.start(*arguments)
        printed, _ = process.communicate()
        assert process.returncode == code, printed[-6000:]
        return printed

    def plan(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule would run, without `all` itself; empty when none would."""
        jobs = planned(self.run("--dry-run", *(arguments or ["all"])))
        return {rule: count for rule, count in jobs.items() if rule != "all"}

    def declared(self, *targets: str) -> dict[str, dict[str, int]]:
        """What the jobs that would run ask for, by rule (`benchmarks.declared`)."""
        command = [sys.executable, "-m", "benchmarks.declared", *targets, "--configfile"]
        path = os.pathsep.join([self.environment["PYTHONPATH"], str(ROOT)])
        done = subprocess.run(
            [*command, *self.configs],
            cwd=self.folder,
            env=self.environment | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        return json.loads(done.stdout)

    def wfdm(self, *arguments: object) -> tuple[int, str]:
        """Run the `wfdm` command; returns exit status and what it printed on standard error."""
        code = "from wfdm.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self.environment
        )
        return done.returncode, done.stderr

    @contextmanager
    def edited(self, path: str, old: str, new: str) -> Iterator[None]:
        """For a while, what first stands as `old` in a file stands as `new`; "" is its end."""
        file = self.folder / path
        kept = file.read_bytes() if file.exists() else None
        text = kept.decode() if kept else ""
        assert old in text, f"{path} holds no {old!r}: mend this test"
        file.write_text(text.replace(old, new, 1) if old else text + new)
        try:
            yield
        finally:
            if kept is None:
                file.unlink()
            else:
                file.write_bytes(kept)


def planned(printed: str) -> Counter[str]:
    """The jobs of each rule that Snakemake's plan lists."""
    if "Job stats:" not in printed:
        assert "Nothing to be done" in printed, printed[-6000:]
        return Counter()
    table = printed.split("Job stats:")[1].split("\n\n")[0].splitlines()[3:]
    rows = (line.split() for line in table)
    return Counter({rule: int(count) for rule, count in rows if rule != "total"})


@pytest.fixture(scope="session")
def tiny(atlas, tmp_path_factory) -> Workflow:
    """The tiny study of phantoms and of two real heads (the atlas's, coarse), not yet run."""
    folder = tmp_path_factory.mktemp("tiny")
    shutil.copy(ROOT / "tests/workflow/tiny.yaml", folder)
    workflow = Workflow.copied(folder, ["config/demo.yaml", "tiny.yaml"])
    head = nib.squeeze_image(nib.load(atlas["sri24-head"]))
    for person, voxel in zip(LAB, (3.0, 3.5), strict=True):
        path = folder / "data" / "LAB" / f"sub-{person}" / "anat" / f"sub-{person}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(resample_to_output(head, voxel), path)
    phantoms = yaml.safe_load((folder / "tiny.yaml").read_text())["sources"]
    lab = {"kind": "bids", "path": "data/LAB"}
    quality = {"exclusions": "exclusions.tsv"}
    return workflow.over(results="results/tiny", sources=[*phantoms, lab], quality=quality)


@pytest.fixture(scope="session")
def finished(tiny) -> Workflow:
    """The tiny study, run once from raw scans to tables and figures."""
    tiny.run("all")
    return tiny
