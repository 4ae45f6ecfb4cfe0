"""Reconstruct a shard of the test scans with a compressor, and compare (paper, 2.5.7)."""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Compressor, Lpips, Out, Shard, Shards, Splits, Threads, Volumes
from wfdm.stages.inputs import architecture_of, device, verified
from wfdm.stages.selection import test_volumes

Settings = reads("volume", "evaluation.lpips")


def run(
    settings: Any,
    compressor: Compressor,
    volumes: Volumes,
    splits: Splits,
    shard: Shard,
    shards: Shards,
    out: Out,
    threads: Threads = 1,
    lpips: Lpips = None,
) -> None:
    """Write a row per scan."""
    from wfdm.data.table import write_csv
    from wfdm.evaluation.reconstruction import evaluate_compressor, load_lpips

    files = verified(settings.lpips.assets if settings.lpips else [], lpips)
    inputs = [compressor, volumes, splits, *files]
    implementations = [architecture_of(compressor)]
    with recorded("reconstruction", out, settings, inputs, implementations) as record:
        where = device(threads)
        network = load_lpips(settings.lpips, files, where)
        test = test_volumes(volumes, splits, shard, shards)
        rows = evaluate_compressor(
            compressor.parent, test, settings.volume, out, record.identity, where, network
        )
        write_csv(rows, out)
