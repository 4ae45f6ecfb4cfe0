"""Train a compressor (stage A), or continue a training that was interrupted.

One resumable loop: autoencoder and discriminator in turn, on random crops of standardised volumes
(paper, 2.5.1 and 2.5.6). A compressor without training, fixed or published, is only measured.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Splits, Start, Threads, Volumes, Workers
from wfdm.stages.inputs import verified, weights_of

Settings = reads(
    "seed",
    "{compressor}",
    "volume",
    "compressors.{compressor}.architecture",
    "compressors.{compressor}.training",
    "compressors.{compressor}.pretrained",
)


def run(
    settings: Any,
    volumes: Volumes,
    splits: Splits,
    out: Out,
    threads: Threads = 1,
    perceptual: Annotated[
        list[Path] | None, "Weights of the feature loss; of LPIPS: backbone, then heads."
    ] = None,
    pretrained: Annotated[Path | None, "Published weights, where nothing is trained."] = None,
    cache: Annotated[Path | None, "Folder of the cache of standardised volumes."] = None,
    cache_mb: Annotated[int, "Most that the cache holds, in MB."] = 1000,
    workers: Workers = 0,
    from_: Start = None,
) -> None:
    """Write the folder of a compressor: weights, configuration, history, resumable state."""
    from wfdm.config.compressors import implementations
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_table, with_split
    from wfdm.training.compressor import Files, Task, train_compressor
    from wfdm.training.plan import Job

    chosen = settings.training.perceptual.assets if settings.training else []
    assets = [*chosen, *filter(None, [settings.pretrained])]
    weights = [*(perceptual or []), *filter(None, [pretrained])]
    chosen_start = settings.training.start_from if settings.training else None
    start = weights_of(from_ or chosen_start)
    inputs = [volumes, splits, *verified(assets, weights), *filter(None, [start])]
    files = Files(perceptual or [], pretrained, cache, cache_mb)
    task = Task(
        name=settings.compressor,
        seed=settings.seed,
        volume=settings.volume,
        architecture=settings.architecture,
        training=settings.training,
    )
    used = implementations(settings.architecture, settings.pretrained)
    with recorded("train-compressor", out, settings, inputs, used) as record:
        table = with_split(read_table(volumes), read_splits(splits))
        job = Job(out.parent, record.identity, start, threads, workers)
        record.results = train_compressor(task, table, files, job)
        record.outputs = [out, out.with_name("config.json"), out.with_name("history.csv")]
