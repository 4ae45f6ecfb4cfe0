# Paths and settings, nothing else. A rule's parameters hold just the settings its stage reads.

import functools
import gc
import itertools
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from wfdm.config import files, stages
from wfdm.config.data import PhantomSource
from wfdm.config.generators import NoiseSettings
from wfdm.config.study import Study
from wfdm.data.assets import find, load_registry
from wfdm.data.exclusions import obey
from wfdm.data.index import listing
from wfdm.data.paths import key_of, session_record
from wfdm.data.table import IDENTITY, read_table, rows_of
from wfdm.errors import UserError
from wfdm.evaluation.tables import BY_MODALITY, differences
from wfdm.provenance.fingerprints import fingerprint

# The `wfdm` command is the one of the environment that Snakemake runs in.
shell.prefix(
    f"set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
)

try:
    study = files.parse(Study, config, "configuration")
except UserError as error:
    raise WorkflowError(str(error)) from None

PHANTOMS = [source for source in study.sources if isinstance(source, PhantomSource)]
PHANTOM_OF = {
    dataset.name: source for source in PHANTOMS for dataset in source.datasets
}
ASSET_NAMES = {entry.file: name for name, entry in load_registry().items()}


# A plan makes millions of objects that stay: looking for garbage seldom saves 5 s of 75.
gc.set_threshold(100_000, 50, 100)


def asset(name):
    """Return where an asset lies."""
    return f"{study.assets}/{find(name).file}"


# Rows of table 3 with published weights are optional: without the file the row is left out.
ABSENT = {
    name: compressor.pretrained
    for name, compressor in study.compressors.items()
    if compressor.pretrained and not Path(asset(compressor.pretrained)).is_file()
}
COMPRESSORS = {
    name: compressor
    for name, compressor in study.compressors.items()
    if name not in ABSENT
}
if ABSENT and workflow.is_main_process:
    told = ", ".join(f"{name} ({asset(needed)})" for name, needed in ABSENT.items())
    logger.warning(
        f"Left out, because their published weights are not placed: {told}; "
        "config/assets.yaml says where they come from."
    )


wildcard_constraints:
    dataset=r"[A-Za-z0-9]+",
    place=r"sub-[A-Za-z0-9+-]+(/ses-[A-Za-z0-9+-]+)?/anat",
    session=r"sub-[A-Za-z0-9+-]+(_ses-[A-Za-z0-9+-]+)?(_run-\d+)?",
    compressor="|".join(COMPRESSORS),
    generator="|".join(study.generators),
    shard=r"\d{4}",
    batch=r"\d{5}",


def results(path):
    """Return a path under the study's results root."""
    return f"{study.results}/{path}"


def settings(stage):
    """Return a stage's settings as one line of JSON."""
    return stage.model_dump_json()


def weights(chosen):
    """Return the assets of a feature network; none for a declared stand-in or no network."""
    return [asset(name) for name in chosen.assets] if chosen else []


def option(name, values):
    """Return `--name value` for each value, quoted for the shell."""
    return " ".join(f"--{name} {shlex.quote(str(value))}" for value in values)


# Asked for by every session, so read once; while the table is not made, `get` raises, and what
# raises is not kept.
@functools.cache
def scan_rows():
    """Return the rows of the scan table, which is made first where it is missing."""
    table = read_table(checkpoints.index.get().output.scans)
    return rows_of(table[list(IDENTITY)])


@functools.cache
def all_sessions():
    """Return {(folder, session): rows of the scan table}."""
    return by_session(scan_rows())


@functools.cache
def kept_sessions():
    """Return the sessions, and in each the scans, that no person excluded."""
    try:
        return by_session(obey(scan_rows(), study.quality.exclusions))
    except UserError as error:
        raise WorkflowError(str(error)) from None


def by_session(rows):
    """Return {(folder, session): rows} of rows of the scan table."""
    found = {}
    for row in rows:
        found.setdefault(key_of(row), []).append(row)
    return found


def phantom_rows(wildcards):
    """Return the rows of one phantom session; exclusions concern preprocessing only."""
    return all_sessions()[f"{wildcards.dataset}/{wildcards.place}", wildcards.session]


def session_rows(wildcards):
    """Return the rows of one session, as far as they are not excluded."""
    return kept_sessions()[f"{wildcards.dataset}/{wildcards.place}", wildcards.session]


def session_options(wildcards):
    """Return the options that a session's scans and the state they came in ask for."""
    rows = session_rows(wildcards)
    states = {row["state"] for row in rows}
    if len(states) > 1:
        raise WorkflowError(
            f"{wildcards.dataset} {wildcards.session}: its scans have several states "
            f"({', '.join(sorted(states))}); give each state a source of its own"
        )
    return (
        f"{option('scan', scan_paths(rows))} --state {rows[0]['state']} "
        f"{option('weights', extraction_weights(rows))}"
    )


def extraction_weights(rows):
    """Return the brain extractor's weights: only raw scans still have a skull."""
    raw = any(row["state"] == "raw" for row in rows)
    return [asset(name) for name in study.preprocess.weights] if raw else []


@functools.cache
def batches():
    """Return the provenance records of the preprocessed sessions, a cluster job's at a time."""
    records = [
        session_record(results("preprocessed"), rows[0], "preproc")
        for rows in kept_sessions().values()
    ]
    size = study.sessions_per_job
    return [records[first : first + size] for first in range(0, len(records), size)]


def batch_tables(_):
    """Return the tables that stand for the records of all sessions."""
    return [
        results(f"preprocessed/batches/{number:05d}.tsv")
        for number in range(len(batches()))
    ]


def exclusion_file(_):
    """Return the exclusion file where there is one."""
    return [path for path in [study.quality.exclusions] if Path(path).is_file()]


def scan_paths(rows):
    """Return MODALITY=PATH for every scan of one session."""
    return [f"{row['modality']}={row['path']}" for row in rows]


def shards():
    """Return the numbers of all shards, as in file names."""
    return [f"{shard:04d}" for shard in range(study.shards)]


def preprocess_assets_needed(_):
    """Return the assets that the study's sessions ask for."""
    atlases = [asset(study.preprocess.atlas), asset(study.preprocess.atlas_head)]
    every = itertools.chain.from_iterable(kept_sessions().values())
    return atlases + extraction_weights(every)


def raw_scans(rows):
    """Return a session's raw scans, or the record of the phantom that makes them."""
    if rows[0]["dataset"] in PHANTOM_OF:
        return [session_record(results("raw"), rows[0], "raw")]
    return [row["path"] for row in rows]


def source_folders(_):
    """Return the folders of the sources, or say which data to place where."""
    places = [
        source.path for source in study.sources if not isinstance(source, PhantomSource)
    ]
    for place in places:
        if not Path(place).exists():
            sys.exit(
                f"No data at {place}: place the raw scans there (BIDS: one dataset, or one "
                "folder per dataset) or a BrainScape checkout, or edit 'sources' in your "
                "configuration."
            )
    return []


def training_of(wildcards):
    """Return how a compressor is trained; None for fixed and pretrained ones."""
    return COMPRESSORS[wildcards.compressor].training


def pretrained_weights(wildcards):
    """Return the published weights of a compressor, where it has some."""
    name = COMPRESSORS[wildcards.compressor].pretrained
    return [asset(name)] if name else []


def code_of(stage, *compressors):
    """Return the code fingerprint of a stage that works with these compressors."""
    rows = [COMPRESSORS[name] for name in compressors]
    return fingerprint(stage, *(row.architecture.implementation for row in rows))


def perceptual_weights(wildcards):
    """Return the weights of the perceptual network, where it has an asset."""
    training = training_of(wildcards)
    return weights(training.perceptual) if training else []


def trained_generator(wildcards):
    """Return the weights of a trained generator; decoded noise has none."""
    if isinstance(study.generators[wildcards.generator], NoiseSettings):
        return []
    return [results(f"generators/{wildcards.generator}/model.safetensors")]


def compressor_of(generator):
    """Return the name of the compressor that a generator works with."""
    name = study.generators[generator].compressor
    if name in ABSENT:
        raise WorkflowError(
            f"generator '{generator}' needs compressor '{name}', whose weights are not placed at "
            f"{asset(ABSENT[name])}"
        )
    return name


def of_compressor(path):
    """Return an input function: `path` for the compressor that a generator works with."""
    return lambda wildcards: results(path).format(
        compressor=compressor_of(wildcards.generator)
    )
