"""What an edit makes run again: exactly the jobs whose numbers it can change, and what follows."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, plans
from tests.workflow.edits import (
    COUNTED,
    DENOISED,
    EVERYTHING,
    FIGURES,
    JUDGED,
    OF_SCANS,
    OF_SPLITS,
    ONLY_READ,
    PREPROCESSED,
    SAMPLED,
    SCHEDULED,
    SHARDED,
    SHOWN,
    SRC,
    TABLE_A,
    TABLE_B,
    TIMED,
    TOLD,
    TRAINED,
)
from tests.workflow.test_tiny_study import AFTER_VOLUMES
from wfdm.config.study import Study
from wfdm.stages.notes import STAGES

pytestmark = pytest.mark.slow

UNTOLD = {  # nowhere told as a difference from the paper
    "a compressor's label": (
        {"compressors": {"dwt-2": {"label": "Another"}}},
        {**TABLE_A, "figure2": 1},
    ),
    "a generator's label": (
        {"generators": {"wfdm": {"label": "Another"}}},
        {**TABLE_B, "table2": 1, "table6": 1, "figure1": 1, **SHOWN},
    ),
    "the study's name": ({"study": "another"}, {"quality": 1}),
    "disk for the cache": ({"cache_mb": 900}, {}),
    "where assets are kept": (
        {"assets": "elsewhere"},
        {"asset": 2, "phantom": 2, **PREPROCESSED},
    ),
    "where results go": ({"results": "results/another"}, EVERYTHING),
    "a part more of the work": (
        {"shards": 3},
        {"phantom": 3, **{r: 3 * n // 2 if r in SHARDED else n for r, n in PREPROCESSED.items()}},
    ),
    "what changes no number": ({"compressor_training": {"checkpointing": True}}, TRAINED),
}
ANOTHER = {"kind": "diffusion", "label": "WFDM in 5 steps", "denoiser": "wfdm", "steps": 5}
HELD_OUT = {"validation_scans": 2}
ADVERSARY = {
    "gans": {"adversary": {"network": {"side": 128}}},
    "generators": {"adversary": {"kind": "gan", "gan": "adversary"}},
}
STUDENT = {
    "distilled": {"few": {"denoiser": "wfdm", "pairs": 9, "training": HELD_OUT}},
    "generators": {"few": {**ANOTHER, "denoiser": "few"}},
}
HAAR = {"architecture": {"kind": "haar", "levels": 1}}
SETTINGS = {  # these are told
    "the seed": ({"seed": 7}, OF_SCANS),
    "sources": (
        {"sources": [{"kind": "bids", "path": "data/LAB"}]},
        {rule: n for rule, n in OF_SCANS.items() if rule != "phantom"},
    ),
    "how near a duplicate is": ({"people": {"near_duplicate": 0.3}}, {"near_duplicates": 1}),
    "derived metadata": ({"metadata": {"age_group_from_age": True}}, OF_SCANS),
    "statistics of metadata": ({"metadata": {"statistics": "published"}}, OF_SPLITS),
    "shares of the split": ({"split": {"train": 0.6}}, OF_SPLITS),
    "normalisation": ({"preprocess": {"normalisation": "foreground"}}, PREPROCESSED),
    "the exclusion file": ({"quality": {"exclusions": "another.tsv"}}, PREPROCESSED),
    "what raises a flag": ({"quality": {"z": 4.0}}, {"quality": 1}),
    "what becomes of failed sessions": (
        {"quality": {"policy": "skip"}},
        {"volumes": 1, **AFTER_VOLUMES},
    ),
    "clipping of volumes": (
        {"volume": {"percentiles": [1, 99]}},
        {**AFTER_VOLUMES, **TIMED},  # it reads how volumes are made, which a size is part of
    ),
    "size of volumes": (
        {"volume": {"shape": [64, 80, 80]}},
        {"figure1": 1, **AFTER_VOLUMES, **TIMED},
    ),
    "a learning rate of stage A": ({"compressor_training": {"learning_rate": 1.0e-3}}, TRAINED),
    "a size of a compressor": (
        {"compressors": {"wf-sa-vae": {"architecture": {"wavelet_channels": 8}}}},
        {"figure1": 1, **TRAINED, **TIMED},
    ),
    "a row less of table 3": ({"compressors": {"dwt-2": None}}, {"figure2": 1, **TABLE_A}),
    "another row of table 3": (
        {"compressors": {"dwt-1": HAAR}},
        {"train_compressor": 1, "reconstruction": 2, "join": 1, "figure2": 1, **TABLE_A},
    ),
    "a learning rate of stage B": (
        {"denoisers": {"wfdm": {"training": {"learning_rate": 1.0e-3}}}},
        {**DENOISED, **SAMPLED, "table7": 1},  # it is given all denoisers, as table 5
    ),
    "a size of a denoiser": (
        {"denoisers": {"wfdm": {"network": {"metadata_width": 32}}}},
        {**DENOISED, "figure1": 1, **SAMPLED, **TIMED},
    ),
    "another number of sampling steps": (
        {"generators": {"wfdm": {"steps": 4}}},
        {**SAMPLED, "table2": 1, "figure1": 1, **TIMED},
    ),
    "another row of table 4": (
        {"generators": {"another": ANOTHER}},
        {**SAMPLED, "table2": 1, **TIMED},  # tables 5 and 7 are given all generators
    ),
    "another draw of a generator": (
        {"generators": {"again": {**ANOTHER, "label": "WFDM, draw 2", "steps": 3, "draw": 2}}},
        {**SAMPLED, "table2": 1, "draws": 1, **TIMED},
    ),
    "a row less of table 5": (
        {"schedulers": {"rflow-l2": None}},
        {**SCHEDULED, "table7": 1},
    ),
    "a GAN and its row of table 4": (
        ADVERSARY,
        {"train_gan": 1, **SAMPLED, "table2": 1, **TIMED},
    ),
    "a completion": (
        {"completions": {"branch": {"denoiser": "wfdm"}}},
        {
            **{"train_completion": 1, "complete_tests": 2, "completed_tests": 1},
            **{"completion_metrics": 2, "join_completion": 1, "tableA1": 1, "figureA1": 1},
        },
    ),
    "what a generator's metadata control": (
        {"controllability": {"wfdm": {"measure": "thresholds"}}},
        {
            **{"phantom_truth": 1, "controlled": 1, "measured": 1, "features_controlled": 2},
            **{"controllability": 1, "tableA2": 1, "figureA2": 1},
        },
    ),
    "a completion beside a plain U-Net": (
        {"completions": {"branch": {"denoiser": "wfdm", "unet": {}}}},
        {
            **{"train_completion": 1, "train_plain_unet": 1, "complete_tests": 2},
            **{"completed_tests": 1, "completion_metrics": 2, "join_completion": 1},
            **{"tableA1": 1, "figureA1": 1},
        },
    ),
    "a student and its row of table 4": (
        STUDENT,
        {"pairs": 2, "distil": 1, **SAMPLED, "table2": 1, **TIMED},
    ),
    "quality against steps": (
        {"few_steps": {}},
        {"endpoints": 1, "endpoints_reference": 1, "tableA4": 1, "figureA4": 1},
    ),
    "the audit of memorisation": (
        {"memorisation": {"compressor": "wf-sa-vae"}},
        {
            **{"encode_samples": 2, "features_training": 2, "neighbours": 1, "neighbours_real": 1},
            **{"memorisation": 1, "memorisation_floor": 1, "membership": 1, **TABLE_B},
            **{"tableA3": 1, "figureA3": 1},
        },
    ),
    "how often a time is taken": ({"timing": {"repeats": 3}}, TIMED),
    "pairs of the diversity": ({"evaluation": {"diversity_pairs": 7}}, JUDGED),
    "what the feature network sees": (
        {"evaluation": {"intensity": ["none"]}},
        {"features": 6, "synthesis": 2, **TABLE_B, **SCHEDULED},
    ),
    "how often intervals resample": (
        {"evaluation": {"resamples": 20}},
        {"synthesis": 2, **TABLE_B, **SCHEDULED},
    ),
    "LPIPS": (
        {"evaluation": {"lpips": {"every": 2}}},
        {"asset": 2, "floors": 2, "reconstruction": 4, "join": 3, **TABLE_A},
    ),
    "resolution of figures": ({"figures": {"dpi": 90}}, FIGURES),
    "no figure 1": ({"figures": {"generator": None}}, {}),
}
TOGETHER = [  # a job that has to run must not hide that others have to as well
    ("what raises a flag", "a learning rate of stage A"),
    ("how near a duplicate is", "pairs of the diversity"),
    ("how often a time is taken", "a learning rate of stage B"),
    ("what raises a flag", "what becomes of failed sessions"),
]


@pytest.fixture(scope="module")
def planned(finished, tmp_path_factory) -> dict[str, dict[str, int]]:
    """The plan of the finished study after each edit."""
    folder = tmp_path_factory.mktemp("edits")
    studies = {
        name: finished.over(**settings) for name, (settings, _) in (SETTINGS | UNTOLD).items()
    }
    studies |= {
        name: finished.edited(folder / str(number), edit)
        for number, (name, (edit, _)) in enumerate(COUNTED.items())
    }
    return dict(zip(studies, plans(list(studies.values())), strict=True))


def test_what_only_people_read_makes_nothing_run(finished, tmp_path):
    (jobs,) = plans([finished.edited(tmp_path / "all", *ONLY_READ.values())])
    if jobs:  # which of them was it?
        each = [
            finished.edited(tmp_path / str(number), edit)
            for number, edit in enumerate(ONLY_READ.values())
        ]
        alone = dict(zip(ONLY_READ, plans(each), strict=True))
        assert {name: found for name, found in alone.items() if found} == {}
    assert jobs == {}


@pytest.mark.parametrize(("name", "jobs"), [(name, jobs) for name, (_, jobs) in COUNTED.items()])
def test_code_and_files_make_run_what_their_numbers_reach(planned, name, jobs):
    assert planned[name] == jobs


@pytest.mark.parametrize(("name", "jobs"), [(name, jobs) for name, (_, jobs) in SETTINGS.items()])
def test_a_setting_makes_run_what_reads_it(planned, name, jobs):
    assert planned[name] == {**jobs, **TOLD}


@pytest.mark.parametrize(("name", "jobs"), [(name, jobs) for name, (_, jobs) in UNTOLD.items()])
def test_what_changes_no_number_is_told_nowhere(planned, name, jobs):
    assert planned[name] == jobs


def test_two_settings_make_run_what_reads_either(finished):
    both = [finished.over(**SETTINGS[one][0]).over(**SETTINGS[two][0]) for one, two in TOGETHER]
    wanted = [SETTINGS[one][1] | SETTINGS[two][1] | TOLD for one, two in TOGETHER]
    assert plans(both) == wanted


def test_no_rule_calls_an_input_ancient():
    """Below a job that runs, Snakemake asks no job for its settings: it runs for its new input.

    For an ancient one it does not, and so of all that follows nothing would run.
    """
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        assert "ancient(" not in path.read_text(), path


def test_there_is_an_edit_of_every_section_and_package():
    edited = {key for settings, _ in (SETTINGS | UNTOLD).values() for key in settings}
    assert edited == set(Study.model_fields)
    files = [edit[0] for edit in ONLY_READ.values()] + [edit[0] for edit, _ in COUNTED.values()]
    packages = {path.parent.name for path in Path(ROOT, SRC).glob("*/__init__.py")}
    assert packages <= {Path(file).relative_to(SRC).parts[0] for file in files if SRC in file}


def test_a_note_is_of_the_stages_that_its_table_comes_from(finished):
    """Of those that read settings; the quality page only has to be there."""
    fresh = finished.over(results="results/another")
    students = fresh.over(**STUDENT, schedulers={"distilled": {"generator": "few"}})
    # Table 4 alone can have a row of a GAN, and each table that has them one of a student.
    rows = {"table4": students.over(**ADVERSARY), "table5": students}
    studies = [rows.get(name, fresh) for name in STAGES]
    found = plans(studies, *(f"results/another/tables/{name}.csv" for name in STAGES))
    for (name, stages), jobs in zip(STAGES.items(), found, strict=True):
        rules = jobs.keys() - {name, "quality"}
        named = {"sample": "sample_test", "timing": "benchmark"}
        modules = [f"wfdm.stages.{named.get(rule, rule)}" for rule in rules]
        reading = {module for module in modules if hasattr(import_module(module), "Settings")}
        wanted = {f"wfdm.stages.{stage}" for stage in stages}
        assert wanted == reading, name


def test_another_version_of_a_package_makes_nothing_run(finished, tmp_path):
    """It is in every record from then on; by itself it would train everything again."""
    metadata = "Metadata-Version: 2.1\nName: torch\nVersion: 99.9\n"
    upgraded = finished.edited(
        tmp_path / "upgraded", ("src/torch-99.9.dist-info/METADATA", "", metadata)
    )
    ask = "from importlib.metadata import version; print(version('torch'))"
    told = subprocess.check_output([sys.executable, "-c", ask], text=True, env=upgraded.environment)
    assert told == "99.9\n"
    assert plans([upgraded]) == [{}]


def test_another_file_of_an_asset_makes_run_what_reads_it(finished, tmp_path):
    """The same bytes once more do not; other bytes do, and the jobs then refuse them."""
    changed, same = (
        finished.edited(tmp_path / name, ("assets/another", "", "a file more"))
        for name in ("changed", "same")
    )
    for study, end in ((changed, b"?"), (same, b"")):
        file = study.folder / "assets" / "sri24-head.nii"
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content[: len(content) - len(end)] + end)
    assert plans([changed, same]) == [{"phantom": 2, **PREPROCESSED}, {}]


def test_the_command_plans_the_same(finished, tmp_path, planned):
    name = "a stage"
    edit, jobs = COUNTED[name]
    assert finished.edited(tmp_path / "edited", edit).plan() == jobs == planned[name]
    assert finished.plan() == {}
