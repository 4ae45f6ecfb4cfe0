"""Train a control branch that completes sessions, or continue a training that was interrupted.

Beside a frozen denoiser a branch learns what a session's other scans say (Zhang et al. 2023): of
each session with two modalities or more, one is made and a random subset of the others is told.
Only the branch is trained and kept, with the digest of its denoiser.
"""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Denoiser, Latents, Out, Scans, Splits, Threads, Workers
from wfdm.stages.inputs import files_of, networks_of

Settings = reads(
    "seed",
    "{completion}",
    "volume",
    "completions.{completion}.condition_channels",
    "completions.{completion}.direct_channels",
    "completions.{completion}.training",
)


def run(
    settings: Any,
    denoiser: Denoiser,
    latents: Latents,
    scans: Scans,
    splits: Splits,
    out: Out,
    threads: Threads = 1,
    workers: Workers = 0,
) -> None:
    """Write the folder of a completion: weights, configuration, history, resumable state."""
    from wfdm.data.split_table import encoded_scans
    from wfdm.training.completion import Task, train_completion
    from wfdm.training.plan import Job

    index = latents.with_name("index.tsv")
    inputs = [*files_of(denoiser), latents, index, scans, splits]
    task = Task(
        name=settings.completion,
        seed=settings.seed,
        condition_channels=settings.condition_channels,
        direct_channels=settings.direct_channels,
        training=settings.training,
        volume=settings.volume,
    )
    implementations = networks_of(denoiser.parent)
    with recorded("train-completion", out, settings, inputs, implementations) as record:
        job = Job(out.parent, record.identity, threads=threads, workers=workers)
        record.results = train_completion(
            task,
            denoiser.parent,
            latents.parent,
            encoded_scans(scans, splits, index),
            job,
        )
        record.outputs = [out, *map(out.with_name, ("config.json", "history.csv"))]
