"""Score the mean training volumes as reconstructions of a shard of the test scans (table 3)."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Lpips, Out, Shard, Shards, Splits, Threads, Volumes
from wfdm.stages.inputs import device, verified
from wfdm.stages.selection import test_volumes

Settings = reads("volume", "evaluation.lpips")


def run(
    settings: Any,
    means: Annotated[Path, "Mean volumes of the training split."],
    volumes: Volumes,
    splits: Splits,
    shard: Shard,
    shards: Shards,
    out: Out,
    threads: Threads = 1,
    lpips: Lpips = None,
) -> None:
    """Write a row per scan and reference."""
    from wfdm.data.mean_volumes import read_means
    from wfdm.data.table import write_csv
    from wfdm.evaluation.floors import mean_volume_rows
    from wfdm.evaluation.reconstruction import load_lpips

    files = verified(settings.lpips.assets if settings.lpips else [], lpips)
    with recorded("floors", out, settings, [means, volumes, splits, *files]) as record:
        where = device(threads)
        network = load_lpips(settings.lpips, files, where)
        test = test_volumes(volumes, splits, shard, shards)
        found = read_means(means)
        rows = mean_volume_rows(found, test, settings.volume, out, record.identity, where, network)
        write_csv(rows, out)
