"""Train a GAN on the study's scans, or continue a training that was interrupted.

HA-GAN (Sun et al. 2022), told the modality: generator and encoders, then discriminators, on a slab
in full and on the whole volume small. The moving average of generator and encoders is kept.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Splits, Start, Threads, Volumes, Workers
from wfdm.stages.inputs import weights_of

Settings = reads(
    *("seed", "{gan}", "volume", "preprocess.spacing"),
    *("gans.{gan}.network", "gans.{gan}.training"),
)


def run(
    settings: Any,
    volumes: Volumes,
    splits: Splits,
    out: Out,
    threads: Threads = 1,
    cache: Annotated[Path | None, "Folder of the cache of standardised volumes."] = None,
    cache_mb: Annotated[int, "Most that the cache holds, in MB."] = 1000,
    workers: Workers = 0,
    from_: Start = None,
) -> None:
    """Write the folder of a GAN: weights, configuration, history, resumable state."""
    from wfdm.baselines.hagan_training import Files, Task, train_hagan
    from wfdm.stages.selection import split_volumes
    from wfdm.training.plan import Job

    start = weights_of(from_ or settings.training.start_from)
    inputs = [volumes, splits, *filter(None, [start])]
    task = Task(
        name=settings.gan,
        seed=settings.seed,
        network=settings.network,
        training=settings.training,
        volume=settings.volume,
        spacing=settings.spacing,
    )
    files = Files(cache, cache_mb)
    with recorded("train-gan", out, settings, inputs) as record:
        table = split_volumes(volumes, splits)
        job = Job(out.parent, record.identity, start, threads, workers)
        record.results = train_hagan(task, table, files, job)
        record.outputs = [out, out.with_name("config.json"), out.with_name("history.csv")]
