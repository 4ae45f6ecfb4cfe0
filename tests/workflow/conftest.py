"""The tiny study, run by Snakemake as a user would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


class Workflow:
    """Runs Snakemake from the checkout on the tiny study with its own results root."""

    def __init__(self, folder: Path, *overlays: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        mine = folder / "mine.yaml"
        mine.write_text(yaml.safe_dump({"results": str(self.results)}))
        configs = ["config/demo.yaml", "tests/workflow/tiny.yaml", str(mine), *map(str, overlays)]
        self.command = [
            *(sys.executable, "-m", "snakemake", "--configfile", *configs),
            *("--nolock", "--cores", "2"),
        ]
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        }

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake in a process group of its own."""
        return subprocess.Popen(
            [*self.command, *arguments],
            cwd=ROOT,
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


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The tiny study, run once from raw phantoms to tables and figures."""
    workflow = Workflow(tmp_path_factory.mktemp("tiny"))
    workflow.run("all")
    return workflow
