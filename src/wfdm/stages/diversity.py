"""MS-SSIM of one shard of the pairs of samples that tell how diverse they are (paper, 2.5.7).

Every shard draws the same pairs of all samples, and scores its share of them.
"""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Shard, Shards, Threads, Volumes
from wfdm.stages.inputs import device

Settings = reads("seed", "{generator}", "volume", "evaluation.diversity_pairs")


def run(
    settings: Any, samples: Volumes, shard: Shard, shards: Shards, out: Out, threads: Threads = 1
) -> None:
    """Write a row per pair."""
    from wfdm.data.table import read_table, write_csv
    from wfdm.evaluation.diversity import score_pairs
    from wfdm.evaluation.pairs import of_shard, pairs_of

    with recorded("diversity", out, settings, [samples]) as record:
        where = device(threads)
        table = read_table(samples)
        pairs = pairs_of(table, settings.diversity_pairs, settings.seed, settings.generator)
        mine = of_shard(pairs, shard, shards)
        scored = score_pairs(mine, table, settings.volume, out, record.identity, where)
        write_csv(scored, out)
