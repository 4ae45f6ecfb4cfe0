"""List what was made for sessions that lacked it, in one table of volumes.

The real scans stand in it only where the configuration says so (`completions.NAME.mixed`); a column
tells which are synthetic.
"""

from pathlib import Path
from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Shards, Volumes

Settings = reads("completions.{completion}.mixed")


def run(settings: Any, volumes: Volumes, shards: Shards, out: Out) -> None:
    """Join the tables of the shards; describe each dataset of what was made."""
    import pandas as pd

    from wfdm.data.bids_dataset import describe
    from wfdm.data.shards import shard_path
    from wfdm.data.table import read_table, write_table

    parts = [shard_path(out.parent, shard, shards, ".tsv") for shard in range(shards)]
    with recorded("completed", out, settings, [*parts, volumes]) as record:
        made = pd.concat([read_table(part) for part in parts])
        paths = map(Path, made["path"])
        described = describe(out.parent, paths, "completed by a generator", synthetic=True)
        if settings.mixed:
            real = read_table(volumes).assign(sources="", range="", synthetic="false")
            made = pd.concat([made, real[list(made.columns)]])
        write_table(made.sort_values("scan_id", ignore_index=True), out)
        record.outputs = [out, *described]
