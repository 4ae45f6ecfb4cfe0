"""Train a denoiser (stage B), or continue a training that was interrupted.

A conditional U-Net learns the target of the process on scaled latents; an exponential moving
average of its weights is judged and kept (paper, 2.5.4-2.5.6).
"""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import (
    Latents,
    Out,
    Scans,
    Splits,
    Start,
    Statistics,
    Threads,
    Workers,
)
from wfdm.stages.inputs import weights_of

Settings = reads(
    "seed",
    "{denoiser}",
    "denoisers.{denoiser}.network",
    "denoisers.{denoiser}.process",
    "denoisers.{denoiser}.training",
    "denoisers.{denoiser}.latents",
    "denoisers.{denoiser}.posterior",
    "metadata.age_group_from_age",
)


def run(
    settings: Any,
    latents: Latents,
    scans: Scans,
    splits: Splits,
    statistics: Statistics,
    out: Out,
    threads: Threads = 1,
    workers: Workers = 0,
    from_: Start = None,
) -> None:
    """Write the folder of a denoiser: weights, configuration, history, resumable state."""
    from wfdm.data.metadata import load_schema, read_statistics
    from wfdm.data.split_table import encoded_scans
    from wfdm.latents import moments, standard
    from wfdm.models.denoisers.folder import fields_of
    from wfdm.training.denoiser import Task, train_denoiser
    from wfdm.training.plan import Job

    index, means = latents.with_name("index.tsv"), latents.with_name(moments.FILE)
    start = weights_of(from_ or settings.training.start_from)
    inputs = [latents, index, means, scans, splits, statistics, *filter(None, [start])]
    implementations = [settings.network.implementation, settings.process.implementation]
    task = Task(
        name=settings.denoiser,
        seed=settings.seed,
        network=settings.network,
        process=settings.process,
        training=settings.training,
        latents=settings.latents,
        posterior=settings.posterior,
        age_group_from_age=settings.age_group_from_age,
    )
    with recorded("train-denoiser", out, settings, inputs, implementations) as record:
        # A part of the settings that has a file of its own.
        record.numbers["metadata_fields"] = fields_of(load_schema())
        job = Job(out.parent, record.identity, start, threads, workers)
        record.results = train_denoiser(
            task,
            latents.parent,
            encoded_scans(scans, splits, index),
            read_statistics(statistics),
            job,
        )
        beside = ("config.json", standard.FILE, "history.csv")
        record.outputs = [out, *map(out.with_name, beside)]
