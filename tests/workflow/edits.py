"""Edits of code and files, and the jobs that each makes run again."""

from tests.workflow.test_tiny_study import AFTER_VOLUMES, GATHERED

TABLE_A = {"table3": 1, "table8to11": 4, "metrics": 1}
TABLE_B = {"table4": 1, "table12to15": 4, "metrics": 1}
SCHEDULED = {"table5": 1, "table16to19": 4}
TIMED = {"timing": 1, "table6": 1, "table7": 1}
SHOWN = {"figure3": 1, "figure4to7": 4}
FIGURES = {"figure1": 1, "figure2": 1, **SHOWN}
JUDGED = {"diversity": 4, "synthesis": 2, **TABLE_B, **SCHEDULED}
SAMPLED = {  # one generator of two
    **{"sample": 2, "samples": 1, "features": 2, "diversity": 2, "synthesis": 1},
    **SHOWN,
    **TABLE_B,
    **SCHEDULED,
}
BOTH_SAMPLED = {
    **{"sample": 4, "samples": 2, "features": 4, "diversity": 4, "synthesis": 2},
    **SHOWN,
    **TABLE_B,
    **SCHEDULED,
}
DENOISED = {"train_denoiser": 1, "table2": 1}  # its config.json says what it makes
STAGE_B = {"encode": 2, "latents": 1, **DENOISED, **BOTH_SAMPLED}
STAGE_A = {  # two compressors, of which one is trained and one measured by the same code
    **{"train_compressor": 2, "reconstruction": 4, "join": 2, "figure2": 1},
    **TABLE_A,
    **STAGE_B,
    **BOTH_SAMPLED,
}
TRAINED = {  # the one that is trained
    **{"train_compressor": 1, "reconstruction": 2, "join": 1, "figure2": 1},
    **TABLE_A,
    **STAGE_B,
    **BOTH_SAMPLED,
}
MEASURED = {
    **{"floors": 2, "reconstruction": 4, "join": 3},
    **TABLE_A,
}
SHARDED = "preprocess image_hash encode sample floors reconstruction features diversity".split()
HASHED = {"image_hash": 2, "near_duplicates": 1}
OF_SPLITS = {"split": 1, "table1": 1, **dict(AFTER_VOLUMES.items() - HASHED.items())}
PREPROCESSED = {"preprocess": 2, **GATHERED, **AFTER_VOLUMES}
OF_SCANS = {"index": 1, "coverage": 1, "phantom": 2, **PREPROCESSED, **OF_SPLITS}
TOLD = {"differences": 1}
EVERYTHING = {**OF_SCANS, "figure1": 1, **TIMED, **TOLD}
HEUN = '''

def heun(velocity: Velocity, z: Tensor, times: Tensor) -> Tensor:
    """Integrate with Heun's method."""
    for now, later in pairwise(times.tolist()):
        first = velocity(z, now)
        z = z + (now - later) * (first + velocity(z + (now - later) * first, later)) / 2
    return z
'''
SRC = "src/wfdm"
UNUSED = "\nUNUSED = 1\n"

ONLY_READ = {
    "a log line of the training": (f"{SRC}/training/loop.py", 'log.info(f"', 'log.info(f"now, '),
    "a comment in a model": (f"{SRC}/models/blocks.py", "\n\n\n", "\n\n\n# A comment.\n"),
    "a docstring": (f"{SRC}/training/losses.py", '"""', '"""Edited. '),
    "an error's words": (f"{SRC}/models/weights.py", "is missing; train", "is not there; train"),
    "the progress bar": (f"{SRC}/log.py", "mininterval=5", "mininterval=1"),
    "the command line": (f"{SRC}/cli/app.py", "", UNUSED),
    "the records": (f"{SRC}/provenance/records.py", "", UNUSED),
    "checks of the configuration": (f"{SRC}/config/checks.py", "SMALLEST = 48", "SMALLEST = 47"),
    "curves of the training": (f"{SRC}/training/board.py", "", UNUSED),
    "a new module": (f"{SRC}/processes/heun.py", "", HEUN),
    "an audit that no row has": (f"{SRC}/audits/memorisation.py", "", UNUSED),
    "a generator of no row": (f"{SRC}/generators/folder.py", "", UNUSED),
    "an architecture of no row": (f"{SRC}/models/compressors/monai_vae.py", "", UNUSED),
    "a published system of no row": (f"{SRC}/baselines/hagan.py", "", UNUSED),
    "a rule's message": ("workflow/rules/compressors.smk", '"Train compressor', '"Train the model'),
    "a rule's time": ("workflow/rules/compressors.smk", "8640 if", "8600 if"),
    "a comment in a rule": ("workflow/rules/data.smk", "", "\n# A comment.\n"),
    "a package's pinned version": ("envs/constraints.txt", "\ntorch==", "\ntorch==1"),
}
COUNTED = {
    "reading a source": ((f"{SRC}/data/index.py", "", UNUSED), OF_SCANS),
    "dividing people": ((f"{SRC}/data/split.py", "", UNUSED), OF_SPLITS),
    "a report on the data": ((f"{SRC}/data/coverage.py", "", UNUSED), {"coverage": 1}),
    "the search for near-duplicates": (
        (f"{SRC}/data/near_duplicates.py", "", UNUSED),
        HASHED,
    ),
    "phantoms": ((f"{SRC}/phantom/contrasts.py", "", UNUSED), {"phantom": 2, **PREPROCESSED}),
    "preprocessing": ((f"{SRC}/preprocess/intensity.py", "", UNUSED), PREPROCESSED),
    "a loss of stage A": (
        (f"{SRC}/training/losses.py", "clamp(min=0.01)", "clamp(min=0.02)"),
        STAGE_A,
    ),
    "an architecture": (
        (f"{SRC}/models/compressors/wavelet_fusion.py", "\nclass ", "\nUNUSED = 1\n\n\nclass "),
        TRAINED | FIGURES | TIMED,
    ),
    "the cache of latents": (
        (f"{SRC}/latents/cache.py", "", UNUSED),
        {"latents": 1, **DENOISED, **BOTH_SAMPLED},
    ),
    "a stage": ((f"{SRC}/stages/encode.py", "", UNUSED), STAGE_B),
    "the process of stage B": (
        (f"{SRC}/processes/rflow.py", "return x0 - noise", "return noise - x0"),
        {**DENOISED, **SAMPLED, **TIMED},
    ),
    "a sampler beside the others": (
        (f"{SRC}/processes/samplers.py", "", HEUN),
        {**SAMPLED, **TIMED},
    ),
    "one generator": ((f"{SRC}/generators/decoded_noise.py", "", UNUSED), SAMPLED),
    "what generators share": (
        (f"{SRC}/generators/latents.py", "", UNUSED),
        {**BOTH_SAMPLED, **TIMED},
    ),
    "scores of pairs of volumes": (
        (f"{SRC}/evaluation/reconstruction.py", "", UNUSED),
        MEASURED,
    ),
    "the diversity of samples": (
        (f"{SRC}/evaluation/diversity.py", "KEPT = 8", "KEPT = 16"),
        JUDGED,
    ),
    "one table": ((f"{SRC}/tables/table4.py", "", UNUSED), TABLE_B),
    "rows of two tables": (
        (f"{SRC}/tables/synthesis.py", "", UNUSED),
        {"table2": 1, "table7": 1, **TABLE_B, **SCHEDULED},
    ),
    "cells of tables": (
        (f"{SRC}/tables/text.py", "", UNUSED),
        {"table1": 1, "table2": 1, **TABLE_A, **TABLE_B, **SCHEDULED, "table6": 1, "table7": 1},
    ),
    "a figure's size": ((f"{SRC}/figures/panels.py", "CELL = 1.5", "CELL = 1.6"), FIGURES),
    "what the paper's study is": (  # this one has 5000 by its own configuration
        (f"{SRC}/config/evaluation.py", "        5000, ", "        5001, "),
        {**TOLD, **TABLE_B, **SCHEDULED},
    ),
    "a published table": (
        ("config/published/table3.csv", "", "more,More,,,,,,\n"),
        {"table3": 1, "metrics": 1},
    ),
    "who is the same person": (("config/people.tsv", "", "\n"), OF_SCANS),
    "the metadata's schema": (
        ("config/metadata.yaml", "", "\n# A comment.\n"),
        OF_SCANS,
    ),
}
