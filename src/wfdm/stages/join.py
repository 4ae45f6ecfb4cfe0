"""Join the rows of all shards in one table, in the order of scan_id."""

from pathlib import Path
from typing import Annotated

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out


def run(part: Annotated[list[Path], "A shard's CSV; once for each."], out: Out) -> None:
    """Write the joined CSV."""
    import pandas as pd

    from wfdm.data.table import write_csv

    with recorded("join", out, None, part):
        # As text: a number is written as it was read.
        tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in part]
        joined = pd.concat(tables).sort_values("scan_id", kind="stable")
        write_csv(joined, out)
