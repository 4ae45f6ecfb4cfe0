"""Imports point down the layers, files stay small, and planning stays light."""

import subprocess
import sys

import pytest

from tests.unit import layers

ROOT = layers.SOURCE.parents[1]


def test_every_module_belongs_to_a_layer():
    assert {layers.package_of(name) for name in layers.modules()} <= set(layers.HEIGHT)


def test_imports_between_packages_point_down():
    wrong = layers.upward(layers.arrows())
    assert not wrong, "\n".join([*wrong, "", layers.picture()])


def test_packages_import_each_other_in_no_ring():
    ring = layers.cycle(layers.arrows())
    assert not ring, " -> ".join(ring)


def test_it_sees_every_way_to_import(tmp_path, monkeypatch):
    """Relative ones, whole modules, names of packages, inside functions, for types only."""
    for name, text in {
        "models/__init__.py": "",
        "models/a.py": "def f():\n    from ..data import table\n",
        "models/b.py": "from wfdm import data\nimport wfdm.data.table as t\n",
        "data/__init__.py": "from . import table\n",
        "data/table.py": "if TYPE_CHECKING:\n    from wfdm.models import a\n",
        "data/inner/__init__.py": "from .. import table\nfrom ...errors import UserError\n",
        "errors.py": "from wfdm import __version__\n",
        "__init__.py": "__version__ = '0'\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(layers, "SOURCE", tmp_path)
    found = layers.arrows()
    assert found == {
        ("models", "data"): [
            "models.a:2 -> data.table",
            "models.b:1 -> data",
            "models.b:2 -> data.table",
        ],
        ("data", "models"): ["data.table:2 -> models.a"],
        ("data", "wfdm"): ["data.inner:2 -> errors"],
    }
    assert layers.upward(found) == ["data.table:2 -> models.a"]
    assert layers.cycle(found) == ["data", "models", "data"]
    assert layers.cycle({("models", "data"): []}) == []


@pytest.mark.parametrize("name", layers.modules())
def test_modules_stay_small(name):
    assert len(layers.modules()[name].read_text().splitlines()) <= 350


def test_what_the_rules_share_stays_small():
    common = ROOT / "workflow" / "rules" / "common.smk"
    assert len(common.read_text().splitlines()) <= 120


def test_planning_imports_no_torch():
    code = (
        "import sys, wfdm.data.table, wfdm.data.index, wfdm.data.split, wfdm.data.volumes, "
        "wfdm.preprocess.session, wfdm.stages.plan, wfdm.config.study, wfdm.cli; "
        "from wfdm.cli.commands import stage_modules; stage_modules(); "
        "print('torch' in sys.modules or 'ants' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_the_command_line_imports_no_science():
    code = "import sys, wfdm.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"torch", "numpy", "pandas", "pydantic", "nibabel"} & set(loaded)
