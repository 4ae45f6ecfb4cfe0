"""Train a control branch that completes sessions, or continue a training that was interrupted.

Beside a frozen denoiser a branch learns what a session's other scans say (Zhang et al. 2023): of
each session with two modalities or more, one is made and a random subset of the others is told.
Only the branch is trained and kept, with the digest of its denoiser.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Latents, Out, Scans, Splits, Threads, Workers
from wfdm.stages.inputs import networks_of

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
    denoiser: Annotated[Path, "model.safetensors of the denoiser."],
    latents: Latents,
    scans: Scans,
    splits: Splits,
    out: Out,
    threads: Threads = 1,
    workers: Workers = 0,
) -> None:
    """Write the folder of a completion: weights, configuration, history, resumable state."""
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_scans, read_table, with_split
    from wfdm.latents import standard
    from wfdm.training.completion import Task, train_completion

    index = latents.with_name("index.tsv")
    trained = [denoiser, *map(denoiser.with_name, ("config.json", standard.FILE))]
    inputs = [*trained, latents, index, scans, splits]
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
        table = read_scans(scans).drop(columns="person")
        encoded = table[table["scan_id"].isin(read_table(index)["scan_id"])]
        record.results = train_completion(
            task,
            denoiser.parent,
            latents.parent,
            with_split(encoded, read_splits(splits)),
            out.parent,
            threads,
            workers,
            record.identity,
        )
        record.outputs = [out, *map(out.with_name, ("config.json", "history.csv"))]
