"""List the samples of all shards in one table."""

from pathlib import Path

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Shards


def run(shards: Shards, out: Out) -> None:
    """Join the tables of the shards; of BIDS derivatives, describe each dataset."""
    import pandas as pd

    from wfdm.data.bids_dataset import describe
    from wfdm.data.shards import shard_path
    from wfdm.data.table import read_table, write_table

    parts = [shard_path(out.parent, shard, shards, ".tsv") for shard in range(shards)]
    with recorded("samples", out, None, parts) as record:
        table = pd.concat([read_table(part) for part in parts])
        paths = map(Path, table["path"])
        described = describe(out.parent, paths, "made by a generator", synthetic=True)
        write_table(table.sort_values("scan_id", ignore_index=True), out)
        record.outputs = [out, *described]
