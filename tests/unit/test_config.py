"""Settings: generated files do not drift, wrong keys are named, stages read only their own."""

import json
from pathlib import Path

import pytest
import yaml

from wfdm.config import files, stages
from wfdm.config.study import Study
from wfdm.data.assets import find
from wfdm.errors import UserError

ROOT = Path(__file__).parents[2]


def demo() -> Study:
    return files.read_study(ROOT / "config/config.yaml", ROOT / "config/demo.yaml")


def test_generated_files_are_up_to_date():
    assert (ROOT / "config/config.yaml").read_text() == files.default_yaml()
    schema = json.loads((ROOT / "config/schema.json").read_text())
    assert schema == json.loads(json.dumps(Study.model_json_schema()))


def test_every_default_tells_its_reason():
    for line in files.default_yaml().splitlines():
        key, _, rest = line.partition(":")
        if rest.strip() and not key.strip().startswith(("#", "- kind", "kind")):
            assert "#" in rest, line


def test_the_default_file_is_the_paper():
    study = files.read_study(ROOT / "config/config.yaml")
    assert study == Study()
    assert study.volume.shape == (192, 224, 160)
    assert study.generators["wfdm"].sampling_steps == 50


@pytest.mark.parametrize(
    ("over", "named"),
    [
        ({"sed": 1}, "unknown key 'sed'"),
        ({"preprocess": {"spacng": 2}}, "unknown key 'preprocess.spacng'"),
        ({"preprocess": {"spacing": -2}}, "'preprocess.spacing'"),
        ({"preprocess": {"extractor": "bet"}}, "'preprocess.extractor'"),
        ({"generators": {"wfdm": {"compressor": "nope"}}}, "generators.wfdm.compressor"),
        ({"compressors": {"wf-sa-vae": None}}, "generators.wfdm.compressor"),
        ({"compressors": {"wf-vae": {"pretrained": "x"}}}, "either training or pretrained"),
        ({"compressors": {"dwt-1": {"pretrained": "x"}}}, "kind 'haar' has no weights"),
        (
            {"compressors": {"wf-vae": {"training": {"perceptual": {"lpips": {}}}}}},
            "give either network or lpips",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_in_one_line(tmp_path, over, named):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(over))
    with pytest.raises(UserError) as caught:
        files.read_study(ROOT / "config/config.yaml", path)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stage_settings_round_trip_through_json():
    study = demo()
    for name in study.compressors:
        stage = stages.train_compressor(study, name)
        again = files.parse_json(stages.TrainCompressorStage, stage.model_dump_json())
        assert again == stage


def test_a_row_set_to_null_is_removed():
    assert set(demo().compressors) == {"wf-vae", "wf-sa-vae", "dwt-1", "dwt-2"}
    assert set(demo().generators) == {"wfdm", "noise"}


def test_every_published_row_of_table_3_is_in_the_study_and_its_asset_is_declared():
    rows = Study().compressors
    printed = (ROOT / "config/published/table3.csv").read_text()
    assert len(rows) == len(printed.splitlines()) - 1
    for row in rows.values():
        assert row.label in printed
        if row.pretrained:
            assert find(row.pretrained).licence


def test_an_edit_of_the_evaluation_leaves_training_settings_alone():
    study = demo()
    edited = study.model_copy(
        update={"evaluation": study.evaluation.model_copy(update={"diversity_pairs": 7})}
    )
    assert stages.train_compressor(study, "wf-vae") == stages.train_compressor(edited, "wf-vae")
    assert stages.train_diffusion(study, "wfdm") == stages.train_diffusion(edited, "wfdm")
    assert stages.synthesis(study, "wfdm") != stages.synthesis(edited, "wfdm")


def test_noise_cannot_be_trained():
    with pytest.raises(UserError, match="nothing to train"):
        stages.train_diffusion(demo(), "noise")


def test_settings_that_are_not_json():
    with pytest.raises(UserError, match="not valid JSON"):
        files.parse_json(stages.SplitStage, "{seed: 1")
