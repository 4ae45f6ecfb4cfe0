"""Imports point down the layers, and planning stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "wfdm"

# Highest first; a module may import its own layer and those below.
LAYERS = [
    ("cli",),
    ("figures", "provenance.audit"),
    ("evaluation", "baselines"),
    ("sampling", "training"),
    ("models",),
    ("preprocess", "data"),
    ("config", "provenance", "errors", "seeds", "atomic"),
]


def layer(module: str) -> int:
    for height, names in enumerate(LAYERS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return height
    raise AssertionError(f"{module} belongs to no layer")


def modules() -> list[tuple[str, Path]]:
    found = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
    names = [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in found]
    return [(name.removesuffix(".__init__"), path) for name, path in zip(names, found, strict=True)]


@pytest.mark.parametrize(("name", "path"), modules())
def test_imports_point_down(name, path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wfdm."):
            target = node.module.removeprefix("wfdm.")
            assert layer(target) >= layer(name), f"{name} imports {target}"


@pytest.mark.parametrize(("name", "path"), modules())
def test_files_stay_small(name, path):
    assert len(path.read_text().splitlines()) <= 400


def test_planning_imports_no_torch():
    code = (
        "import sys, wfdm.data.table, wfdm.data.index, wfdm.data.split, wfdm.data.volumes, "
        "wfdm.preprocess.session, wfdm.config.stages, wfdm.provenance.fingerprints, wfdm.cli; "
        "print('torch' in sys.modules or 'ants' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
