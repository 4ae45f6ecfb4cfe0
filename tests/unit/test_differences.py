"""What a study tells of how it differs from the paper's."""

import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from wfdm.config.study import Study, merged
from wfdm.stages import plan
from wfdm.stages.differences import Settings, run
from wfdm.stages.notes import STAGES, note_of
from wfdm.tables.differences import differences, note, table

UNCOUNTED = {"study", "results", "assets", "shards", "cache_mb", "checkpointing", "start_from"}
UNCOUNTED |= {"batch"}
PHANTOM = {"name": "A", "people": 1, "modalities": {"T1w": 1.0}, "voxel_mm": [1.0, 1.0, 1.0]}
NEW = "another_value"
OTHER = {"training": "published", "zscore-volume": "none", "fail": "skip"}
OTHER |= {"scale": "centred", "mean": "sample", "zscore-dataset": "none"}
PUBLISHED = {"ldm", "med-ddpm", "wdm", "ha-gan", "maisi-mr-brain"}
REFERENCES = {"real-train", "reconstructed", "mean", "noise"}
DDPM = {"ddpm-cosine-l1", "ddpm-cosine-l2", "ddpm-scaled-linear-l2"}
Path = tuple[str | int, ...]


def study(**settings: Any) -> Study:
    """The paper's study with these keys over it, as a configuration file would say them."""
    return Study.model_validate(merged(Study().model_dump(mode="json"), settings))


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every key that holds no other keys."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    else:
        yield path


def changed(value: Any, path: Sequence[str | int]) -> Any:
    """The same settings, but with a new value at a path; whether it makes sense is not checked."""
    if not path:
        return other(value)
    name, *rest = path
    if isinstance(value, list):
        return [changed(each, rest) if place == name else each for place, each in enumerate(value)]
    if isinstance(value, dict):
        return value | {name: changed(value[name], rest)}
    return value.model_copy(update={name: changed(getattr(value, str(name)), rest)})


def other(value: Any) -> Any:
    """Another value, of the same type as far as it matters."""
    match value:
        case bool():
            return not value
        case int():
            return value * 2 or 1
        case float():
            return value / 2 or 1.0
        case tuple() | list() if value:
            return type(value)(map(other, value))
    return OTHER.get(value, NEW) if isinstance(value, str) else NEW


KEYS = list(leaves(Study().model_dump(mode="json")))


def test_the_papers_study_differs_in_nothing(tmp_path):
    assert differences(Study()) == [] == differences(study())
    run(Settings.of(Study()), tmp_path / "differences.csv")
    written = (tmp_path / "differences.csv").read_text()
    assert written == "section,key,study,paper,origin\n"
    assert [note_of(Study(), {}, name) for name in STAGES] == [""] * len(STAGES)


def test_every_key_that_can_change_a_number_is_told():
    assert len(KEYS) > 250
    for path in KEYS:
        told = [each.key for each in differences(changed(Study(), path))]
        counted = path[0 if len(path) == 1 else -1] not in UNCOUNTED
        # What chooses a class tells which: with another class other keys would differ.
        assert path[-1] == "kind" or told == [tuple(map(str, path))] * counted, path


def test_the_stage_is_given_every_key_that_counts():
    assert set(Settings.paths) == set(Study.model_fields) - UNCOUNTED
    ours = study(split={"train": 0.7}, sources=[{"kind": "bids", "path": "x"}])
    given = Settings.parse(plan.settings_of(ours, "differences"))
    assert differences(Study(**dict(given))) == differences(ours) != []


USED = {  # rows that a table is made of; of the others, all
    "table4": {
        "compressor": {"wf-sa-vae", "maisi-vae"},
        "denoiser": {"wfdm", "maisi"},
        "generator": {"wfdm", "maisi", *PUBLISHED, *REFERENCES},
    },
    "table5": {
        "compressor": {"wf-sa-vae"},
        "denoiser": {"wfdm", *DDPM},
        "generator": {"wfdm", *DDPM, *REFERENCES},
    },
    "table6": {
        "compressor": {"wf-sa-vae", "maisi-vae"},
        "denoiser": {"wfdm", "maisi"},
        "generator": {"wfdm", "maisi", *PUBLISHED},
    },
    "table7": {
        "compressor": {"wf-sa-vae"},
        "denoiser": {"wfdm", *DDPM},
        "generator": {"wfdm", *DDPM},
    },
}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # values of no sense
@pytest.mark.parametrize("name", STAGES)
def test_a_note_tells_what_the_stages_of_its_table_read(name):
    """And nothing else: of a key that none of them reads, the table's numbers know nothing."""
    no_generators = {"denoisers": {NEW: {"compressor": "wf-sa-vae"}}, "gans": {NEW: {}}}
    paper = study(**no_generators, distilled={"student": {"denoiser": "wfdm"}})

    def settings(each: Study, path: Path) -> list[str]:
        row = {"compressor": "wf-sa-vae", "denoiser": "wfdm", "generator": "wfdm"}
        row |= {"gan": NEW, "distilled": "student"}
        row |= {str(path[0]).removesuffix("s"): str(path[1])} if len(path) > 1 else {}
        if any(row[kind] not in names for kind, names in USED.get(name, {}).items()):
            return []  # of no row of the table
        return [plan.settings_of(each, stage, **row) for stage in STAGES[name]]

    denoisers = USED.get(name, {}).get("denoiser", ())
    inputs = [("denoisers", each, "compressor") for each in denoisers]
    inputs += [("people", "aliases")] if "index" in STAGES[name] else []
    for path in KEYS:
        if path[-1] in (*UNCOUNTED, "kind", "training") or path[0] == "compressor_training":
            continue  # "training" is null here: nothing is trained
        if path[0] in ("schedulers", "gans", "distilled"):
            continue  # which generator stands in a row, and there is no other one; no row at all
        ours = changed(paper, path)
        matters = path in inputs or settings(ours, path) != settings(paper, path)
        assert bool(note_of(ours, {}, name)) == matters, path


def test_what_all_trainings_share_is_told_once():
    ours = Study.model_validate({"compressor_training": {"steps": 7}})
    assert note(differences(ours)) == "compressor_training: steps 7, not 500000"
    own = study(
        compressor_training={"steps": 7},
        compressors={"wf-vae": {"training": {"steps": 8}}},
    )
    assert note(differences(own)) == (
        "compressor_training: steps 7, not 500000; compressors: wf-vae.training.steps 8, not 500000"
    )
    stage_b = study(
        compressor_training={"learning_rate": 1e-3},
        denoisers={"wfdm": {"training": {"learning_rate": 1e-3}}},
    )
    assert "denoisers: wfdm.training.learning_rate 0.001, not 0.0001" in note(differences(stage_b))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sources": [{"kind": "bids", "path": "x"}]}, "sources bids, not brainscape"),
        (
            {"sources": [{"kind": "phantom", "datasets": [PHANTOM]}]},
            "sources phantom, not brainscape",
        ),
        (
            {"split": {"train": 0.5, "validation": 0.25}},
            "split: train 0.5, not 0.8, validation 0.25, not 0.1",
        ),
        ({"split": {"rule": "published"}}, "split: rule published, not person"),
        (
            {"preprocess": {"normalisation": "foreground"}},
            "preprocess: normalisation foreground, not masked-volume",
        ),
        ({"evaluation": {"diversity_pairs": 3}}, "evaluation: diversity_pairs 3, not 5000"),
        ({"evaluation": {"lpips": None}}, "evaluation: lpips null, not default"),
        (
            {"compressors": {"wf-vae": None, "dwt-1": None}},
            "compressors: without wf-vae, without dwt-1",
        ),
        (
            {"compressors": {"mine": {"architecture": {"kind": "haar", "levels": 1}}}},
            "compressors: also mine",
        ),
        (
            {"denoisers": {"wfdm": {
                "network": {"res_blocks": 1, "metadata_width": 8},
                "training": {"steps": 7, "batch_size": 2},
            }}},
            "denoisers: wfdm; values: differences.csv",
        ),
        (
            {"preprocess": {"spacing": 2.0, "registration_mm": 2.0, "antialias": True,
             "hd_bet": {"mirror": False}}},
            "preprocess: spacing, hd_bet, registration_mm, antialias; values: differences.csv",
        ),
        ({"compressors": {"wf-vae": {"label": "Reworded"}}, "study": "x", "results": "y"}, ""),
    ],
)  # fmt: skip
def test_a_note_says_it_in_words(settings, told):
    assert note(differences(study(**settings))) == told


def test_a_note_is_of_its_table():
    ours = study(
        split={"train": 0.7},
        generators={"wfdm": {"steps": 7}},
        compressors={"dwt-2": {"architecture": {"haar": "rounded"}}},
        quality={"z": 4.0},
    )
    split, haar = "split: train 0.7, not 0.8", "dwt-2.architecture.haar rounded, not exact"
    assert note_of(ours, {}, "table1") == split
    assert note_of(ours, {}, "table3") == f"{split}; compressors: {haar}"
    assert note_of(ours, {}, "table4") == f"{split}; generators: wfdm.steps 7, not 50"
    assert note_of(ours, {}, "table6") == "generators: wfdm.steps 7, not 50"


def test_the_list_has_values_and_where_the_papers_come_from(tmp_path):
    out = tmp_path / "differences.csv"
    ours = study(
        split={"train": 0.5}, sources=[{"kind": "bids", "path": "data/mine"}], figures={"dpi": 90}
    )
    run(Settings.of(ours), out, ["maisi-vae=assets/maisi.pt"])
    with out.open(newline="") as file:
        sources, split, row, figures = csv.DictReader(file)
    assert split == {
        **{"section": "split", "key": "split.train", "study": "0.5", "paper": "0.8"},
        "origin": "paper, table 1: 80 %",
    }
    kinds, _, value = sources["study"].partition(": ")
    assert kinds == "bids" and json.loads(value) == [{"kind": "bids", "path": "data/mine"}]
    assert row["key"] == "compressors.maisi-vae"
    assert row["study"] == "left out: assets/maisi.pt is not placed"
    assert figures["key"] == "figures.dpi"
    assert list(table([]).columns) == list(figures)
