"""The tiny study, run by Snakemake in a copy of the checkout, as a user would."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import pytest
import yaml
from filelock import FileLock
from nibabel.processing import resample_to_output

from tests.workflow.plans import printed

ROOT = Path(__file__).parents[2]
HERE = ("--cores", "2", "--nolock")
COPIED = ("Snakefile", "workflow", "config", "src", "envs", "profiles", "slurm")
Edit = tuple[str, str, str]
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

    def arguments(self, *given: str, where: Sequence[str] = HERE) -> list[str]:
        """Of Snakemake, in the study's folder; `where` are options that say where it works."""
        return [*where, *given, "--configfile", *self.configs]

    def start(self, *arguments: str, where: Sequence[str] = HERE) -> subprocess.Popen:
        """Start Snakemake in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *self.arguments(*arguments, where=where)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0, where: Sequence[str] = HERE) -> str:
        """Run Snakemake to its end and return what it printed."""
        process = self.start(*arguments, where=where)
        printed, _ = process.communicate()
        assert process.returncode == code, printed[-6000:]
        return printed

    def plan(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule would run, by `jobs_of`; empty when none would."""
        return jobs_of(self.run("--dry-run", *(arguments or ["all"])))

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

    def jobs(self) -> dict[str, list[tuple[list[str], list[Path]]]]:
        """What Snakemake ran: per rule each job's `wfdm` arguments and outputs, sorted."""
        found: dict[tuple[str, str], list[Path]] = defaultdict(list)
        for path in (self.folder / ".snakemake" / "metadata").rglob("*"):
            if path.is_file():
                about = json.loads(path.read_text())
                output = base64.urlsafe_b64decode(path.name).decode()
                found[about["rule"], about["shellcmd"]].append(self.folder / output)
        jobs: dict[str, list[tuple[list[str], list[Path]]]] = defaultdict(list)
        for (rule, command), outputs in sorted(found.items()):
            words = "printf '%s\\0' " + command.partition(" 2>&1 |")[0]
            text = subprocess.check_output(["bash", "-c", words], text=True)
            # Before the command come variables that the rule sets for it.
            arguments = text.split("\0wfdm\0")[-1].removeprefix("wfdm\0").split("\0")
            jobs[rule].append((arguments[:-1], sorted(outputs)))
        return jobs

    def edited(self, folder: Path, *edits: Edit) -> "Workflow":
        """The same study with what was made in it, but edited: its files stay as they are.

        What is not edited are links. An edit is a file, and what first stands there as one text
        stands as another; "" is the end of the file.
        """
        folder.mkdir()
        copied = {path.partition("/")[0] for path, _, _ in edits}
        for entry in self.folder.iterdir():
            if entry.name not in copied:
                (folder / entry.name).symlink_to(entry)
            elif entry.is_dir():
                shutil.copytree(entry, folder / entry.name, symlinks=True)
            else:
                shutil.copy2(entry, folder / entry.name)
        for path, old, new in edits:
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            text = file.read_text() if file.exists() else ""
            assert old in text, f"{path} holds no {old!r}: mend this test"
            file.unlink(missing_ok=True)  # it may be a link
            file.write_text(text.replace(old, new, 1) if old else text + new)
        return Workflow(folder, self.configs)


def plans(workflows: Sequence[Workflow], *targets: str) -> list[dict[str, int]]:
    """The plan of each, as `Workflow.plan` gives it; many take little longer than one.

    Of a study there may be several, each with a target of its own.
    """
    asked = [
        (each.folder, each.environment, each.arguments("--dry-run", target))
        for each, target in zip(workflows, targets or ["all"] * len(workflows), strict=True)
    ]
    return [jobs_of(text) for text in printed(asked)]


def jobs_of(text: str) -> dict[str, int]:
    """The jobs of each rule in a plan.

    Left out are those that follow whatever else runs: `all` itself, and the report's pages.
    """
    left_out = ("all", "pages")
    return {rule: count for rule, count in planned(text).items() if rule not in left_out}


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
    (folder / "assets").mkdir()
    for asset in atlas.values():
        (folder / "assets" / asset.name).symlink_to(asset)
    return workflow.over(
        results="results/tiny", assets="assets", sources=[*phantoms, lab], quality=quality
    )


@pytest.fixture(scope="session")
def made(tiny, tmp_path_factory) -> Workflow:
    """The tiny study, run from raw scans to tables and figures: once for all test processes.

    No test changes anything in it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "made.lock"):
        if not (folder / "made.done").exists():
            tiny.twin(folder / "made").run("all")
            (folder / "made.done").touch()
    return Workflow(folder / "made", tiny.configs)


@pytest.fixture(scope="session")
def finished(made, tmp_path_factory) -> Workflow:
    """The finished tiny study, of this test process alone."""
    return made.twin(tmp_path_factory.mktemp("finished"))
