"""A study's results as the pipeline leaves them, made by hand: small files, true records."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from wfdm.provenance.digests import digests
from wfdm.provenance.records import Began, record_path, write
from wfdm.provenance.roots import mark

ROOT = "results/small"
RAW = f"{ROOT}/raw/A/sub-1/anat/sub-1_T1w.nii.gz"
SESSION = f"{ROOT}/preprocessed/A/sub-1/anat/sub-1"
SAMPLE = f"{ROOT}/samples/g/A/sub-1/anat/sub-1_desc-synthetic_T1w"
TABLE = f"{ROOT}/tables/table4.csv"
MODEL = f"{ROOT}/compressors/c/model.safetensors"
OUTSIDE = ("lab/atlas.nii", "lab/sub-2_T1w.nii.gz", "config/people.tsv", "config/published/4.csv")
STEPS = (  # stage, record (empty: beside the first output), outputs, inputs
    ("index", "", [f"{ROOT}/data/scans.tsv", f"{ROOT}/data/people.tsv"], ["config/people.tsv"]),
    ("phantom", f"{ROOT}/raw/A/sub-1/anat/sub-1_desc-raw.prov.json", [RAW], ["lab/atlas.nii"]),
    (
        "preprocess",
        f"{SESSION}_desc-preproc.prov.json",
        [f"{SESSION}_{name}" for name in ("T1w.nii.gz", "T1w.json", "mask.nii.gz", "xfm.mat")],
        [RAW, "lab/sub-2_T1w.nii.gz"],
    ),
    (
        "volumes",
        "",
        [f"{ROOT}/preprocessed/volumes.tsv"],
        [f"{ROOT}/data/scans.tsv", f"{SESSION}_desc-preproc.prov.json"],
    ),
    (
        "train-compressor",
        "",
        [MODEL, f"{ROOT}/compressors/c/config.json", f"{ROOT}/compressors/c/history.csv"],
        [f"{ROOT}/preprocessed/volumes.tsv"],
    ),
    (
        "encode",
        "",
        [f"{ROOT}/latents/c/shard-0000-of-0001.{kind}" for kind in ("npy", "tsv")],
        [MODEL, f"{ROOT}/preprocessed/volumes.tsv"],
    ),
    (
        "sample-test",
        "",
        [f"{ROOT}/samples/g/shard-0000-of-0001.tsv", f"{SAMPLE}.nii.gz", f"{SAMPLE}.json"],
        [MODEL, f"{ROOT}/latents/c/shard-0000-of-0001.npy"],
    ),
    (
        "synthesis",
        "",
        [f"{ROOT}/evaluation/synthesis/g.csv"],
        [f"{ROOT}/samples/g/shard-0000-of-0001.tsv"],
    ),
    ("table4", "", [TABLE], [f"{ROOT}/evaluation/synthesis/g.csv", "config/published/4.csv"]),
    (
        "figure3",
        "",
        [f"{ROOT}/figures/figure3.{kind}" for kind in ("pdf", "png")],
        [f"{ROOT}/samples/g/shard-0000-of-0001.tsv"],
    ),
)
UNRECORDED = (
    f"{ROOT}/logs/table4.log",
    f"{ROOT}/cache/x.f16",
    f"{ROOT}/compressors/c/last/state.safetensors",
    f"{ROOT}/compressors/c/tensorboard/events.1",
    f"{ROOT}/report.html",
    f"{ROOT}/latents/c/.partial-1-shard.npy",
    f"{ROOT}/latents/c/.partial-2-index.tsv.prov.json",
    f"{ROOT}/preprocessed/A/sub-1/anat/.lock-sub-1_desc-preproc.prov.json",
)
ARTEFACTS = sum(len(outputs) for _, _, outputs, _ in STEPS)


def step(stage: str, record: str, outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Make the outputs of one step, and its record."""
    for name in outputs:
        put(name)
    made, read = (digests(map(Path, names)) for names in (outputs, inputs))
    where = Path(record) if record else record_path(outputs[0])
    write(where, stage, made, read, {"seed": 42}, "c" * 64, {}, Began())


def put(name: str) -> None:
    """Write a file whose content is its name."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(f"{name}\n")


def make() -> None:
    """Make the study in the current folder."""
    for name in (*OUTSIDE, *UNRECORDED):
        put(name)
    for each in STEPS:
        step(*each)
    mark(Path(ROOT), "study: small\n", {"study": "small"})


def stand_in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the study in a checkout under `folder`, and let the test stand there."""
    checkout = folder / "checkout"
    checkout.mkdir()
    monkeypatch.chdir(checkout)
    make()
    return checkout
