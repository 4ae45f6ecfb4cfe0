"""Encode one shard of the scans into the latent cache.

Posterior mean and standard deviation of every scan, in half precision (paper, 2.5.3).
"""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Compressor, Out, Shard, Shards, Threads, Volumes
from wfdm.stages.inputs import architecture_of, device

Settings = reads("volume")


def run(
    settings: Any,
    compressor: Compressor,
    volumes: Volumes,
    shard: Shard,
    shards: Shards,
    out: Out,
    threads: Threads = 1,
) -> None:
    """Write shard-NNNN.npy and its key."""
    from wfdm.data.table import read_table
    from wfdm.latents.encode import encode_shard

    implementations = [architecture_of(compressor)]
    with recorded("encode", out, settings, [compressor, volumes], implementations) as record:
        where = device(threads)
        table = read_table(volumes)
        encode_shard(
            compressor.parent,
            table,
            shard,
            shards,
            settings.volume,
            out.parent,
            record.identity,
            where,
        )
        record.outputs = [out, out.with_suffix(".tsv")]
