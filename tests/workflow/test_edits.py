"""What an edit makes run again: exactly the jobs whose numbers it can change, and what follows."""

from contextlib import ExitStack

import pytest

from tests.workflow.test_tiny_study import AFTER_VOLUMES, GATHERED

pytestmark = pytest.mark.slow

TABLE_A = {"table3": 1, "table8to11": 4, "metrics": 1}
TABLE_B = {"table4": 1, "metrics": 1}
FIGURES = {"figure1": 1, "figure2": 1, "figure3": 1}
JUDGED = {"diversity": 4, "synthesis": 2, **TABLE_B}
SAMPLED = {  # one generator of two
    **{"sample": 2, "samples": 1, "features": 2, "diversity": 2, "synthesis": 1, "figure3": 1},
    **TABLE_B,
}
BOTH_SAMPLED = {
    **{"sample": 4, "samples": 2, "features": 4, "diversity": 4, "synthesis": 2, "figure3": 1},
    **TABLE_B,
}
STAGE_B = {"encode": 2, "latents": 1, "train_denoiser": 1, **BOTH_SAMPLED}
STAGE_A = {  # two compressors, of which one is trained and one measured by the same code
    **{"train_compressor": 2, "reconstruction": 4, "join": 2, "figure2": 1},
    **TABLE_A,
    **STAGE_B,
}
TRAINED = {  # the one that is trained
    **{"train_compressor": 1, "reconstruction": 2, "join": 1, "figure2": 1},
    **TABLE_A,
    **STAGE_B,
}
HEUN = '''

def heun(velocity: Velocity, z: Tensor, times: Tensor) -> Tensor:
    """Integrate with Heun's method."""
    for now, later in pairwise(times.tolist()):
        first = velocity(z, now)
        z = z + (now - later) * (first + velocity(z + (now - later) * first, later)) / 2
    return z
'''
SRC = "src/wfdm"

ONLY_READ = {
    "a log line of the training": (f"{SRC}/training/loop.py", 'log.info(f"', 'log.info(f"now, '),
    "a comment in a model": (f"{SRC}/models/blocks.py", "\n\n\n", "\n\n\n# A comment.\n"),
    "a docstring": (f"{SRC}/training/losses.py", '"""', '"""Edited. '),
    "an error's words": (f"{SRC}/models/weights.py", "is missing; train", "is not there; train"),
    "the progress bar": (f"{SRC}/log.py", "mininterval=5", "mininterval=1"),
    "the command line": (f"{SRC}/cli/app.py", "", "\nUNUSED = 1\n"),
    "the records": (f"{SRC}/provenance/records.py", "", "\nUNUSED = 1\n"),
    "curves of the training": (f"{SRC}/training/board.py", "", "\nUNUSED = 1\n"),
    "a new module": (f"{SRC}/processes/heun.py", "", HEUN),
    "a rule's message": ("workflow/rules/compressors.smk", '"Train compressor', '"Train the model'),
    "a rule's time": ("workflow/rules/compressors.smk", "8640 if", "8600 if"),
}
COUNTED = {
    # All that samples imports it: decoded noise shares its decoding with our generator.
    "a sampler beside the others": ((f"{SRC}/processes/samplers.py", "", HEUN), SAMPLED),
    "a loss of stage A": (
        (f"{SRC}/training/losses.py", "clamp(min=0.01)", "clamp(min=0.02)"),
        STAGE_A,
    ),
    "the process of stage B": (
        (f"{SRC}/processes/rflow.py", "return x0 - noise", "return noise - x0"),
        {"train_denoiser": 1, **SAMPLED},
    ),
    "an architecture": (
        (f"{SRC}/models/compressors/wavelet_fusion.py", "\nclass ", "\nUNUSED = 1\n\n\nclass "),
        TRAINED | FIGURES,
    ),
    "the diversity of samples": (
        (f"{SRC}/evaluation/diversity.py", "KEPT = 32", "KEPT = 16"),
        JUDGED,
    ),
    "a figure's size": ((f"{SRC}/figures/panels.py", "CELL = 1.5", "CELL = 1.6"), FIGURES),
    "preprocessing": (
        (f"{SRC}/preprocess/intensity.py", "", "\nUNUSED = 1\n"),
        {"preprocess": 2, **GATHERED, **AFTER_VOLUMES},
    ),
}
ANOTHER = {"kind": "diffusion", "label": "WFDM in 5 steps", "denoiser": "wfdm", "steps": 5}
SETTINGS = {
    "pairs of the diversity": ({"evaluation": {"diversity_pairs": 7}}, JUDGED),
    "a compressor's label": (
        {"compressors": {"dwt-2": {"label": "Another"}}},
        {**TABLE_A, "figure2": 1},
    ),
    "a generator's label": (
        {"generators": {"wfdm": {"label": "Another"}}},
        {**TABLE_B, "figure1": 1, "figure3": 1},
    ),
    "another number of sampling steps": (
        {"generators": {"wfdm": {"steps": 4}}},
        {**SAMPLED, "figure1": 1},
    ),
    "another row of table 4": ({"generators": {"another": ANOTHER}}, SAMPLED),
    "resolution of figures": ({"figures": {"dpi": 90}}, FIGURES),
    "a learning rate of stage A": ({"compressor_training": {"learning_rate": 1.0e-3}}, TRAINED),
    "a learning rate of stage B": (
        {"denoisers": {"wfdm": {"training": {"learning_rate": 1.0e-3}}}},
        {"train_denoiser": 1, **SAMPLED},
    ),
    "the study's name": ({"study": "another"}, {"quality": 1}),
    "what raises a flag": ({"quality": {"z": 4.0}}, {"quality": 1}),
    "disk for the cache": ({"cache_mb": 900}, {}),
}


def test_what_only_people_read_makes_nothing_run(finished):
    with ExitStack() as edits:
        for edit in ONLY_READ.values():
            edits.enter_context(finished.edited(*edit))
        jobs = finished.plan()
    if jobs:  # which of them was it?
        for name, edit in ONLY_READ.items():
            with finished.edited(*edit):
                assert finished.plan() == {}, name
    assert jobs == {}


@pytest.mark.parametrize(("edit", "jobs"), COUNTED.values(), ids=COUNTED.keys())
def test_code_makes_run_what_its_numbers_reach(finished, edit, jobs):
    with finished.edited(*edit):
        assert finished.plan() == jobs


@pytest.mark.parametrize(("settings", "jobs"), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_setting_makes_run_what_reads_it(finished, settings, jobs):
    assert finished.over(**settings).plan() == jobs


def test_every_edit_was_undone(finished):
    assert finished.plan() == {}
