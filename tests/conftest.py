"""What tests share: the checkout, the command, the atlas."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from wfdm.data.assets import retrieve

ROOT = Path(__file__).parents[1]

settings.register_profile("any machine", deadline=None)  # a busy machine is no failure
settings.load_profile("any machine")
torch.set_num_threads(1)  # several tests run side by side


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process make the tiny study first, and the other test what needs none meanwhile."""
    order = ("test_audit_drill.py", "tests/oracles/", "tests/unit/", "tests/cluster/", "")
    items.sort(key=lambda item: next(i for i, part in enumerate(order) if part in str(item.path)))


@pytest.fixture(scope="session")
def atlas() -> dict[str, Path]:
    """The SRI-24 assets, retrieved once into the checkout's assets folder.

    Where they cannot be had the tests fail: without them hardly any registration is tested.
    """
    folder = ROOT / "resources" / "assets"
    files = {"sri24": folder / "sri24.nii", "sri24-head": folder / "sri24-head.nii"}
    for name, path in files.items():
        retrieve(name, path)
    return files


@pytest.fixture(scope="session")
def wfdm():
    """Run the `wfdm` command; returns exit status and what it printed on standard error."""

    def run(*arguments: object) -> tuple[int, str]:
        code = "from wfdm.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        return done.returncode, done.stderr

    return run
