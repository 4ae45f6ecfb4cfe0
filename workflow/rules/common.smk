# Paths and settings, nothing else. A rule's parameters hold just the settings its stage reads.

import functools
import gc
import shlex
import signal
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from wfdm.config import files
from wfdm.config.baselines import PublishedSystem
from wfdm.config.cohort import PhantomSource
from wfdm.config.compressors import ALLOWED
from wfdm.config.study import Study
from wfdm.data.assets import find, load_registry
from wfdm.data.masks import listed
from wfdm.errors import UserError
from wfdm.stages import notes, plan
from wfdm.stages import rows as rows_of

# A plan makes millions of objects and keeps them: looking for garbage less often saves 5 s of 75.
gc.set_threshold(100_000, 50, 100)

try:
    files.read_files(*workflow.configfiles)  # refuses a key given twice; YAML does not
    asked = workflow.overwrite_configfiles
    study = plan.checked(files.of_snakemake(config, *asked))
except UserError as error:
    raise WorkflowError(str(error)) from None

# The `wfdm` command is the one of the environment that Snakemake runs in. It uses no GPU, unless a
# rule asks for one. A compressor's folder may name the code that this configuration names. `requeue`
# gives a training whose time was nearly over back to SLURM's queue.
OWN = [
    row.architecture.implementation.partition(":")[0]
    for row in study.compressors.values()
]
OWN = ",".join(sorted({module for module in OWN if not module.startswith("wfdm.")}))
shell.prefix(
    f"set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH "
    f"WFDM_GPUS=0{f' {ALLOWED}={shlex.quote(OWN)}' if OWN else ''}; "
    "requeue() ( if [ $1 = 138 ] && [ -v SLURM_JOB_ID ]; then scontrol requeue $SLURM_JOB_ID; fi; "
    "exit $1 ); "
)
# The signal for that (128 + 10) is for the training alone: Snakemake and its shell would die of it.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

PHANTOMS = [source for source in study.sources if isinstance(source, PhantomSource)]
COMPRESSORS, ABSENT = plan.placed(study)
UNPLACED = plan.unplaced(study)
study = rows_of.resolved(study, ABSENT, UNPLACED)
LAST = f"-of-{study.shards:04d}"
BEFORE_THE_END = "--signal=USR1@300"  # seconds that a training has to keep its state

if (ABSENT or UNPLACED) and workflow.is_main_process:
    lacking = [*ABSENT.items(), *UNPLACED.items()]
    told = ", ".join(f"{name} ({path})" for name, path in lacking)
    logger.warning(
        f"Left out, because their published weights are not placed, or masks: {told}; "
        "config/assets.yaml says where they come from."
    )


wildcard_constraints:
    compressor="|".join(study.compressors),
    denoiser="|".join(study.denoisers) or "none",
    generator="|".join(study.generators) or "none",
    shard=r"\d{4}",


def results(path):
    """Return a path under the study's results root."""
    return f"{study.results}/{path}"


def shard_file(folder, suffix):
    """Return the path of one shard's file under the results root."""
    return results(f"{folder}/shard-{{shard}}{LAST}{suffix}")


def every_shard(folder, suffix):
    """Return an input function: the files of all shards; the folder may hold wildcards."""
    numbers = [f"{shard:04d}" for shard in range(study.shards)]
    return lambda wildcards: [
        shard_file(folder, suffix).format(shard=number, **dict(wildcards))
        for number in numbers
    ]


def asset(name):
    """Return where an asset lies."""
    return f"{study.assets}/{find(name).file}"


def assets(names):
    """Return where assets lie."""
    return [asset(name) for name in names]


def more(amount):
    """Return a resource of which every further try of a job gets as much again."""
    return lambda wildcards, attempt: amount * attempt


def option(name, values):
    """Return `--name value` for each value, quoted for the shell."""
    return " ".join(f"--{name} {shlex.quote(str(value))}" for value in values)


settings_of = functools.partial(plan.settings_of, study)
note_of = functools.cache(functools.partial(notes.note_of, study, ABSENT))
code_of = plan.code_of


def architecture(compressor):
    """Return the implementation of a compressor."""
    return study.compressors[compressor].architecture.implementation
