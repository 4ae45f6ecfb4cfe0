"""Describe the volumes of one shard for the search of near-duplicates."""

from typing import Any

from wfdm.config.reads import reads
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Shard, Shards, Volumes

Settings = reads("volume")


def run(settings: Any, volumes: Volumes, shard: Shard, shards: Shards, out: Out) -> None:
    """Write the coefficients of a shard's volumes, and their keys beside."""
    from wfdm.data.near_duplicates import describe_shard
    from wfdm.data.table import read_table

    with recorded("image-hash", out, settings, [volumes]) as record:
        record.outputs = [out, out.with_suffix(".tsv")]
        count = describe_shard(read_table(volumes), shard, shards, settings.volume, out)
    log.info(f"{count} volumes described")
