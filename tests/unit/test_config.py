"""Settings: generated files do not drift, wrong keys are named, stages read only their own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

from wfdm.cli.commands import stage_modules
from wfdm.cli.document import write as write_stages
from wfdm.config import document, files
from wfdm.config.base import Section
from wfdm.config.compressors import CompressorTraining
from wfdm.config.features import FeatureSettings
from wfdm.config.reads import reads
from wfdm.config.study import Study, merged
from wfdm.data.assets import find
from wfdm.errors import UserError
from wfdm.stages import diversity, train_compressor, train_denoiser
from wfdm.stages import split as split_stage

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "workflow/rules").glob("*.smk"))
GENERATED = ("config/config.yaml", "config/schema.json", "docs/configuration.md")


def demo() -> Study:
    return files.read_study(ROOT / "config/config.yaml", ROOT / "config/demo.yaml")


def sections(value: object, path: str = "") -> Iterator[tuple[str, Section]]:
    """Every section within a value, with its path."""
    if isinstance(value, Section):
        yield path, value
        for name in type(value).model_fields:
            yield from sections(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from sections(item, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from sections(item, f"{path}[{place}]")


def holds_sections(value: object) -> bool:
    return any(sections(value))


def every_section(kind: type[Section] = Section) -> Iterator[type[Section]]:
    """Every class of settings, of which each key has a default."""
    for child in kind.__subclasses__():
        if not any(field.is_required() for field in child.model_fields.values()):
            yield child
        yield from every_section(child)


@pytest.mark.parametrize(
    "kind", sorted({*every_section()}, key=repr), ids=lambda kind: kind.__name__
)
def test_a_default_has_the_type_of_its_field(kind):
    """Pydantic checks no default: one of another type is written with a warning (an error here)."""
    kind.model_validate_json(kind().model_dump_json())


def test_generated_files_are_up_to_date(tmp_path):
    document.write(tmp_path)
    for name in GENERATED:
        assert (ROOT / name).read_text() == (tmp_path / name).read_text(), (
            f"{name} is stale: run `make document`"
        )


def test_the_page_of_the_stages_is_up_to_date(tmp_path):
    write_stages(ROOT, tmp_path)
    text = (tmp_path / "docs/stages.md").read_text()
    assert (ROOT / "docs/stages.md").read_text() == text, "docs/stages.md is stale: `make document`"


def test_the_page_of_the_stages_tells_each_with_its_rule_and_what_it_reads():
    text = (ROOT / "docs/stages.md").read_text()
    told, asked = text.split("# Commands that no rule calls\n")
    parts = dict(part.split("\n", 1) for part in re.split(r"^## ", text, flags=re.M)[1:])
    assert parts.keys() == stage_modules().keys()
    assert "`compressors.{compressor}.training`" in parts["train-compressor"]
    assert "`train_compressor` in `workflow/rules/compressors.smk`" in parts["train-compressor"]
    by_hand = {"audit", "complete", "crate", "export-checkpoint", "import-checkpoint", "sample"}
    assert by_hand | {"verify-manifest"} == set(re.findall(r"^## (.+)$", asked, flags=re.M))
    called = re.findall(r"\bwfdm ([a-z][a-z0-9-]+) ", "".join(map(Path.read_text, RULES)))
    for name in called:
        assert f"## {name}\n" in told, name


def test_the_default_file_is_the_paper():
    study = files.read_study(ROOT / "config/config.yaml")
    assert study == Study()
    assert study.volume.shape == (192, 224, 160)
    assert study.generators["wfdm"].steps == 50


def test_snakemake_reads_the_default_file_as_we_do():
    """PyYAML knows YAML 1.1, in which 1e-05 is a word and `no` is false."""
    path = ROOT / "config/config.yaml"
    assert yaml.safe_load(path.read_text()) == files.read_yaml(path)


def test_every_value_of_the_default_file_tells_its_reason():
    for line in document.default_yaml().splitlines():
        key, _, value = line.partition(":")
        if value.strip() and not key.strip().startswith(("#", "- kind", "kind")):
            assert "  # " in line, line


def test_what_is_not_the_default_of_its_class_has_a_reason_of_its_own():
    """Else the reason of the class's default would stand beside another value."""
    wrong = []
    for path, section in sections(Study()):
        own = section.__dict__.get("_reasons", {})
        assert own.keys() <= type(section).model_fields.keys(), path
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            if field.exclude or field.is_required() or holds_sections(value):
                continue
            if value != field.default and name not in own:
                wrong.append(f"{path}.{name}")
    assert not wrong


def test_a_reason_belongs_to_the_value():
    """The loss's network is not the one that medmetric takes by default."""
    network = Study().compressor_training.perceptual.network
    assert network.depth == 10
    assert "medmetric" not in network.reason("depth")
    assert "medmetric" in FeatureSettings().reason("depth")
    brainsynth = Study().compressors["brainsynth-vqvae"].architecture
    assert brainsynth.codes == 2048
    assert "ALDM" not in brainsynth.reason("codes")


def test_a_shared_training_is_written_once_and_a_differing_key_alone():
    text = yaml.safe_load(document.default_yaml())
    trained = [row["training"] for row in text["compressors"].values() if row["training"] == {}]
    assert len(trained) == 4
    other = CompressorTraining(steps=7).because(steps="a test")
    written = document._mapping(other, CompressorTraining())
    assert dict(written) == {"steps": 7}


def test_a_study_that_is_written_whole_is_read_as_it_was(tmp_path):
    path = tmp_path / "study.yaml"
    for study in (Study(), demo()):
        path.write_text(document.whole_yaml(study))
        again = files.read_study(path)
        assert again == study
        labels = [[row.label for row in each.compressors.values()] for each in (again, study)]
        assert labels[0] == labels[1]
        assert files.parse(Study, yaml.safe_load(path.read_text()), "YAML 1.1") == study


def test_variants_of_the_demo_differ_by_what_they_compare_alone():
    whole, demo, over = (ROOT / f"config/{name}.yaml" for name in ("config", "demo", "variants"))
    ours = files.read_study(whole, demo).denoisers["wfdm"]
    made = files.read_study(whole, demo, over)
    for name, row in made.denoisers.items():
        assert row.network == ours.network and row.latents == ours.latents, name
        assert row.training.model_copy(update={"loss": "l2"}) == ours.training, name
    assert made.denoisers["maisi"].process == ours.process
    assert made.compressors["vae-gan"].training == made.compressors["wf-sa-vae"].training
    paper = files.read_study(whole)
    assert {*made.schedulers} == {*paper.schedulers}
    for name, row in made.denoisers.items():
        assert row.process.kind == paper.denoisers[name].process.kind
        assert row.training.loss == paper.denoisers[name].training.loss


def test_the_schema_fits_whole_files_and_overlays_and_refuses_slips(tmp_path):
    document.write(tmp_path)
    schema = json.loads((tmp_path / "config/schema.json").read_text())
    check = jsonschema.Draft202012Validator(schema)
    studies = [path for path in ROOT.glob("config/*.yaml") if "schema.json" in path.read_text()]
    assert len(studies) >= 6
    for path in [*studies, ROOT / "tests/workflow/tiny.yaml"]:
        check.validate(yaml.safe_load(path.read_text()))
    check.validate({"compressors": {"wf-vae": {"training": {"steps": 5}}, "wf-sa-vae": None}})
    check.validate({"compressors": {"wf-vae": {"training": {}}}})
    for slip in (
        {"sed": 1},
        {"shards": 0},
        {"preprocess": {"extractor": "bet"}},
        {"compressors": {"wf-vae": {"training": {"stepz": 5}}}},
        {"compressors": {"wf-vae": {"architecture": {"kind": "vq-vae", "levels": 1}}}},
        {"sources": [{"path": "raw"}]},
    ):
        assert not check.is_valid(slip), slip


def test_editors_find_the_schema():
    assert document.default_yaml().startswith("# yaml-language-server: $schema=schema.json\n")


def test_the_reference_tells_every_key():
    text = (ROOT / "docs/configuration.md").read_text()
    for _, section in sections(Study()):
        for name in type(section).model_fields.keys() - {"kind"}:
            assert f"| `{name}`" in text, name


DDPM = {"compressor": "wf-sa-vae", "process": {"kind": "ddpm"}}
LDM = {"compressor": "wf-sa-vae", "network": {"kind": "ldm"}}
SHRINKING = {"kind": "ddpm", "beta_first": 0.02, "beta_last": 0.01}


@pytest.mark.parametrize(
    ("over", "named"),
    [
        ({"sed": 1}, "unknown key 'sed'"),
        ({"preprocess": {"spacng": 2}}, "unknown key 'preprocess.spacng'"),
        ({"preprocess": {"spacing": -2}}, "'preprocess.spacing'"),
        ({"preprocess": {"extractor": "bet"}}, "'preprocess.extractor'"),
        ({"denoisers": {"wfdm": {"compressor": "nope"}}}, "denoisers.wfdm.compressor"),
        ({"generators": {"wfdm": {"denoiser": "nope"}}}, "generators.wfdm.denoiser"),
        (
            {"generators": {"wfdm": {"sampler": "ddim"}}},
            "wfdm.sampler: ddim does not fit",
        ),
        ({"generators": {"wfdm": {"guidance": 2}}}, "generators.wfdm.guidance: 2 needs a denoiser"),
        ({"generators": {"wfdm": {"eta": 0.5}}}, "generators.wfdm.eta: 0.5 is of ddim alone"),
        (
            {"denoisers": {"x": DDPM}, "generators": {"wfdm": {"denoiser": "x"}}},
            "there is ancestral",
        ),
        ({"denoisers": {"x": DDPM | {"process": {"kind": "edm"}}}}, "'denoisers.x.process'"),
        ({"denoisers": {"x": DDPM | {"process": SHRINKING}}}, "the first no larger than the last"),
        ({"compressors": {"wf-sa-vae": None}}, "denoisers.wfdm.compressor"),
        ({"compressors": {"wf-vae": {"pretrained": "x"}}}, "either training or pretrained"),
        ({"compressors": {"dwt-1": {"pretrained": "x"}}}, "kind 'haar' has no weights"),
        ({"compressors": {"wf-vae": {"label": "WF-SA-VAE"}}}, "is also the label of"),
        ({"figures": {"generator": "nope"}}, "figures.generator: there is no 'nope'"),
        ({"controllability": {"nope": {}}}, "controllability.nope: there is no 'nope'"),
        ({"controllability": {"mean": {}}}, "controllability.mean: 'mean' has no denoiser"),
        ({"completions": {"x": {"denoiser": "nope"}}}, "completions.x.denoiser: there is no"),
        (
            {"completions": {"x": {"denoiser": "wfdm", "sampling": {"sampler": "ddim"}}}},
            "completions.x.sampling.sampler: ddim does not fit",
        ),
        (
            {"denoisers": {"y": LDM}, "completions": {"x": {"denoiser": "y"}}},
            "completions.x.denoiser: a branch controls a U-Net of kind unet",
        ),
        ({"distilled": {"x": {"denoiser": "nope"}}}, "distilled.x.denoiser: there is no 'nope'"),
        ({"distilled": {"wfdm": {"denoiser": "wfdm"}}}, "denoisers.wfdm has its folder already"),
        (
            {"distilled": {"x": {"denoiser": "ddpm-cosine-l2"}}},
            "distilled.x.denoiser: 'ddpm-cosine-l2' is of process ddpm",
        ),
        (
            {"distilled": {"x": {"denoiser": "wfdm", "sampling": {"sampler": "ddim"}}}},
            "distilled.x.sampling.sampler: ddim does not fit",
        ),
        (
            {"distilled": {"x": {"denoiser": "wfdm", "pairs": 256}}},
            "256 held out of 256 pairs leave none",
        ),
        (
            {
                "distilled": {"x": {"denoiser": "wfdm"}},
                "generators": {"wfdm": {"denoiser": "x", "guidance": 2.0}},
            },
            "guidance: 2 needs a denoiser that was trained",
        ),
        ({"few_steps": {"denoiser": "nope"}}, "few_steps.denoiser: there is no 'nope'"),
        (
            {"few_steps": {"reference": {"sampler": "ddim"}}},
            "few_steps.reference.sampler: ddim does not fit",
        ),
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


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed: 1\nsplit:\n  train: 0.8\n  train: 0.7\n", "line 4: 'train' is given twice"),
        ("seed: [1\n", "cannot be read as YAML"),
        ("- seed\n", "a configuration is a mapping of keys, not list"),
    ],
)
def test_a_file_that_is_no_clear_mapping_is_refused(tmp_path, text, named):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        files.read_study(ROOT / "config/config.yaml", path)
    assert named in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stage_settings_round_trip_through_json():
    study = demo()
    for name in study.compressors:
        settings = train_compressor.Settings.of(study, compressor=name)
        assert train_compressor.Settings.parse(settings.model_dump_json()) == settings


def test_a_training_takes_what_all_share_and_its_own_keys():
    mine = {"steps": 3, "perceptual": {"weight": 0.5}}
    over = {"compressor_training": {"batch_size": 7}, "compressors": {"wf-vae": {"training": mine}}}
    content = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    study = files.parse(Study, merged(content, over), "a test")
    changed = study.compressors["wf-vae"].training
    assert (changed.steps, changed.batch_size, changed.perceptual.weight) == (3, 7, 0.5)
    assert changed.perceptual.network == Study().compressor_training.perceptual.network
    assert study.compressors["wf-sa-vae"].training == study.compressor_training
    assert study.compressor_training.batch_size == 7


def test_a_row_set_to_null_is_removed():
    assert set(demo().compressors) == {"wf-vae", "wf-sa-vae", "dwt-1", "dwt-2"}
    assert set(demo().generators) == {"wfdm", "real-train", "reconstructed", "mean", "noise"}


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

    def both(stage, **names):
        return [stage.Settings.of(each, **names) for each in (study, edited)]

    before, after = both(train_compressor, compressor="wf-vae")
    assert before == after
    before, after = both(train_denoiser, denoiser="wfdm")
    assert before == after
    before, after = both(diversity, generator="wfdm")
    assert before != after


def test_settings_that_are_not_json():
    with pytest.raises(UserError, match="not valid JSON"):
        split_stage.Settings.parse("{seed: 1")


def test_what_a_stage_reads_is_there():
    with pytest.raises(KeyError, match="no key 'nope'"):
        _ = reads("volume.nope").model
    with pytest.raises(KeyError, match="have one field"):
        reads("volume", "evaluation.volume")
