"""The built wheel, installed alone: a user of the weights needs no checkout and no extra."""

import json
import os
import resource
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import nibabel as nib
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.unit.stage_b import SPACING, VOLUME, cohort, encode_all, train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ALONE = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
SECONDS = 0.5  # of the processor, for the list of commands
BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def needed(requirements: list[str]) -> set[str]:
    """The distributions that these requirements ask for, and what those ask for."""
    found, waiting = set(), [(text, "") for text in requirements]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        fresh = {(name, each) for each in ("", *requirement.extras)} - found
        found |= fresh
        for _, wanted in fresh:
            try:
                waiting += [(each, wanted) for each in metadata.requires(name) or []]
            except metadata.PackageNotFoundError:
                continue  # of another platform, or what Python itself has
    return {name for name, _ in found}


def beyond(site: Path) -> set[str]:
    """The modules here that are in no distribution that the wheel alone asks for."""
    (info,) = metadata.distributions(path=[str(site)], name="wfdm")
    allowed = needed(info.requires or []) | {"wfdm"}
    owners = metadata.packages_distributions()
    return {
        module
        for module, names in owners.items()
        if not {canonicalize_name(name) for name in names} & allowed
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from what is published of the checkout, in a place of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, env=ALONE)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel, which sees of this one's packages those it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True, env=ALONE)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "block_others.py").write_text(BLOCK.format(names=beyond(site)))
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "here.pth").write_text("\n".join([*ours, "import block_others"]) + "\n")
    return folder


@pytest.fixture
def run(environment, tmp_path):
    """Run a command of the environment in an empty folder; return what it printed."""

    def started(name: str, *arguments: object, code: int = 0) -> str:
        command = [str(environment / "bin" / name), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=ALONE, capture_output=True, text=True)
        assert done.returncode == code, done.stderr[-3000:]
        return done.stdout + done.stderr

    return started


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """The folders that a person hands on: a denoiser and its compressor, moved together."""
    made = tmp_path_factory.mktemp("made")
    train(encode_all(made, cohort()), made / "denoisers" / "tiny")
    handed = tmp_path_factory.mktemp("handed")
    for name in ("denoisers/tiny", "compressors/haar"):
        (handed / name).mkdir(parents=True)
        for file in ("model.safetensors", "config.json"):
            shutil.copy(made / name / file, handed / name / file)
    standard = "denoisers/tiny/standard.safetensors"
    shutil.copy(made / standard, handed / standard)
    return handed


def test_what_is_blocked_is_there_and_not_needed(run):
    """Else the tests below would show nothing."""
    for module in ("snakemake", "dvc", "ants", "deepbet", "medmetric", "matplotlib", "pytest"):
        __import__(module)
        assert "No module named" in run("python", "-c", f"import {module}", code=1)


def test_the_package_is_the_installed_one(run, environment):
    printed = run("python", "-c", "import wfdm; print(wfdm.__file__)")
    assert printed.startswith(str(environment))


def test_the_commands_are_listed_at_once(run):
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        printed = run("wfdm", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert "train-compressor" in printed
    assert min(times) <= SECONDS


def test_weights_are_enough_to_sample(run, weights, tmp_path):
    folder = weights / "denoisers" / "tiny"
    asked = ["--modality", "T1w", "--age", "60", "--sex", "F", "--field", "tumor=no"]
    printed = run("wfdm", "sample", "--checkpoint", folder, *asked, "-n", 2, "--steps", 2)
    names = [f"sub-synthetic000{i}_space-SRI24_desc-synthetic_T1w.nii.gz" for i in (1, 2)]
    assert [line for line in printed.splitlines() if line.endswith(".nii.gz")] == names
    assert sorted(path.name for path in tmp_path.glob("*.nii.gz")) == names
    image = nib.load(tmp_path / names[0])
    assert image.shape == VOLUME.shape
    assert image.header.get_zooms() == (SPACING,) * 3
    told = json.loads((tmp_path / names[0].replace(".nii.gz", ".json")).read_text())
    assert told["Synthetic"] is True
    assert told["SamplingSteps"] == 2
    assert told["Conditions"] == {"age": "60", "sex": "female", "tumor": "no"}


def test_a_request_that_cannot_be_met_is_refused_in_one_line(run, weights):
    asked = ["--checkpoint", weights / "denoisers" / "tiny", "--modality", "T1w"]
    printed = run("wfdm", "sample", *asked, "--field", "tumor", code=1)
    assert printed == "wfdm: 'tumor' must have the form NAME=VALUE\n"


def test_a_compressor_is_loaded_and_used(run, weights):
    code = (
        "import sys, torch, wfdm.models, wfdm.generators\n"
        f"module = wfdm.models.load({str(weights / 'compressors' / 'haar')!r})\n"
        "x = torch.rand(1, 1, 16, 16, 16)\n"
        "assert torch.allclose(module.decode(module.encode(x)[0]), x, atol=1e-5)\n"
        "assert 'medmetric' not in sys.modules\n"
    )
    run("python", "-c", code)


def test_what_people_edit_in_a_checkout_is_in_the_package(run):
    """The metadata schema and the registry of assets; in a checkout, links lead to them."""
    for name in ("metadata", "assets"):
        assert (ROOT / "config" / f"{name}.yaml").resolve() == (
            ROOT / "src" / "wfdm" / "data" / f"{name}.yaml"
        )
    code = "from wfdm.data import assets, metadata; print(len(metadata.load_schema().names))\n"
    code += "assert assets.find('sri24').licence"
    assert run("python", "-c", code).strip() == "25"
