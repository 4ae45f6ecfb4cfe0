"""`wfdm sample`: what a person asks for is made, named and labelled, or refused."""

import inspect
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.unit.stage_b import cohort, encode_all, train
from wfdm.config.generators import DiffusionSettings
from wfdm.errors import UserError
from wfdm.stages import sample


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("made")
    scans = cohort()
    return train(encode_all(made, scans), made / "denoisers" / "tiny", scans)


def ask(checkpoint: Path, out: Path, **asked) -> list[Path]:
    sample.run(**{"checkpoint": checkpoint, "modality": "T1w", "out": out, "steps": 2} | asked)
    return sorted(out.glob("*.nii.gz"))


def volume(path: Path) -> np.ndarray:
    return nib.load(path).get_fdata()


def test_the_defaults_are_the_study_s():
    given = inspect.signature(sample.run).parameters
    for name in ("sampler", "steps"):
        assert given[name].default == DiffusionSettings.model_fields[name].default


def test_what_is_asked_for_is_made_and_labelled(checkpoint, tmp_path, capsys):
    paths = ask(checkpoint, tmp_path, modality="FLAIR", n=3, age=60.0, sex="F", field=["tumor=no"])
    assert [path.name for path in paths] == [
        f"sub-synthetic{i:04d}_space-SRI24_desc-synthetic_FLAIR.nii.gz" for i in (1, 2, 3)
    ]
    assert capsys.readouterr().out.splitlines() == list(map(str, paths))
    assert len({path.read_bytes() for path in paths}) == 3
    told = json.loads(Path(str(paths[0]).replace(".nii.gz", ".json")).read_text())
    assert told["Synthetic"] is True
    assert told["Conditions"] == {"age": "60", "sex": "female", "tumor": "no"}
    assert (told["SamplingSteps"], told["Seed"]) == (2, 42)


def test_a_volume_depends_on_its_number_and_request_not_on_how_many(checkpoint, tmp_path):
    (alone,) = ask(checkpoint, tmp_path / "one", age=30.0)
    first, _ = ask(checkpoint, tmp_path / "two", age=30.0, n=2)
    assert alone.read_bytes() == first.read_bytes()
    (other,) = ask(checkpoint, tmp_path / "other", age=30.0, seed=7)
    assert (volume(alone) != volume(other)).any()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"modality": "PD"}, "unknown modality 'PD'"),
        ({"field": ["shoe=43"]}, "no metadata field 'shoe'"),
        ({"field": ["tumor"]}, "'tumor' must have the form NAME=VALUE"),
        ({"field": ["tumor="]}, "'tumor=' must have the form NAME=VALUE"),
        ({"age": 60.0, "field": ["age=7"]}, "'age' is given twice"),
        ({"sex": "maybe"}, "sex is 'maybe'"),
        ({"age": 600.0}, "age is 600"),
        (
            {"sampler": "magic"},
            "wfdm sample: .sampler.: Input should be .euler., .heun., .*got .magic.",
        ),
        ({"n": 0}, "-n is 0"),
        ({"steps": 0}, "wfdm sample: .steps.: Input should be greater than 0"),
    ],
)
def test_what_cannot_be_made_is_refused(checkpoint, tmp_path, asked, said):
    with pytest.raises(UserError, match=said) as caught:
        ask(checkpoint, tmp_path, **asked)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_no_denoiser_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config\.json is missing"):
        ask(tmp_path / "nothing", tmp_path)
