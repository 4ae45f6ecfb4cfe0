"""Features of a shard of scans, real or synthetic, by the declared network (paper, 2.5.7)."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Shard, Shards, Threads, Volumes
from wfdm.stages.inputs import device, verified
from wfdm.stages.selection import of_shard, of_splits

Settings = reads("volume", "network=evaluation.features", "evaluation.intensity")


def run(
    settings: Any,
    volumes: Volumes,
    means: Annotated[
        Path, "Mean volumes of the training split: they tell which is nearest, and intensities."
    ],
    shard: Shard,
    shards: Shards,
    out: Out,
    threads: Threads = 1,
    splits: Annotated[Path | None, "Split table: only the scans of a split; none: all."] = None,
    weights: Annotated[Path | None, "Weights of the feature network."] = None,
    split: Annotated[list[str] | None, "Split whose scans count, by default test."] = None,
) -> None:
    """Write the features (safetensors)."""
    from wfdm.data.table import read_table
    from wfdm.evaluation.extraction import extract

    files = verified(settings.network.assets, [weights] if weights else [])
    inputs = [volumes, means, *([splits] if splits else []), *files]
    with recorded("features", out, settings, inputs) as record:
        where = device(threads)
        if splits:
            table = of_splits(volumes, splits, split or ["test"], shard, shards)
        else:
            table = of_shard(read_table(volumes), shard, shards)
        extract(
            table,
            settings.network,
            weights,
            settings.intensity,
            settings.volume,
            means,
            out,
            record.identity,
            where,
        )
