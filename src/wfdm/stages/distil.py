"""Distil a denoiser for few steps, or continue a training that was interrupted.

Reflow (Liu et al. 2022): the student starts with the weights of its teacher, a rectified flow, and
learns straight lines between the noises and the latents of the teacher's own pairs. It is a
denoiser like any other.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Denoiser, Out, Threads, Workers
from wfdm.stages.inputs import files_of, networks_of

Settings = reads("seed", "{distilled}", "distilled.{distilled}.training")


def run(
    settings: Any,
    denoiser: Denoiser,
    pairs: Annotated[list[Path], "Table of a shard's pairs; once for each shard."],
    out: Out,
    threads: Threads = 1,
    workers: Workers = 0,
) -> None:
    """Write the folder of a denoiser: weights, configuration, history, resumable state."""
    from wfdm.training.plan import Job
    from wfdm.training.reflow import Task, distil

    arrays = [path.with_suffix(".npy") for path in pairs]
    inputs = [*files_of(denoiser), *pairs, *arrays]
    task = Task(settings.distilled, settings.seed, settings.training)
    with recorded("distil", out, settings, inputs, networks_of(denoiser.parent)) as record:
        job = Job(out.parent, record.identity, threads=threads, workers=workers)
        record.results = distil(task, denoiser.parent, pairs, job)
        record.outputs = [*files_of(out), out.with_name("history.csv")]
