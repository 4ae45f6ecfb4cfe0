"""Make the phantom scans of one shard of the sessions.

A phantom is the SRI-24 head, deformed and scanned as if it were another person's: the demo needs no
patient. A session has a log, a provenance record and its scans; one whose record is still true is
left as it is, so a job that was killed continues where it stopped.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.errors import UserError
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Logs, Only, Out, Processes, Scans, Shard, Shards

Settings = reads("seed", "sources")


def run(
    settings: Any,
    scans: Scans,
    asset: Annotated[list[str], "NAME=FILE; once for each template that a phantom source names."],
    root: Annotated[Path, "Folder of the raw scans."],
    logs: Logs,
    out: Out,
    shard: Shard = 0,
    shards: Shards = 1,
    processes: Processes = 1,
    session: Only = None,
) -> None:
    """Write the scans of the sessions, a record of each, and a table of them."""
    from wfdm.data.assets import verify
    from wfdm.data.sessions import choose, sessions_of
    from wfdm.data.table import read_table, rows_of, write_table
    from wfdm.phantom.shard import phantom_shard
    from wfdm.stages.inputs import paths

    phantoms = [source for source in settings.sources if source.kind == "phantom"]
    sources = {dataset.name: source for source in phantoms for dataset in source.datasets}
    assets = paths(asset)
    for name in sorted({name for source in phantoms for name in (source.template, source.brain)}):
        if name not in assets:
            raise UserError(f"--asset {name}=FILE is not given: a phantom source names it")
        verify(name, assets[name])
    with recorded("phantom", out, settings, [scans, *assets.values()]) as record:
        rows = [row for row in rows_of(read_table(scans)) if row["dataset"] in sources]
        chosen = choose(sessions_of(rows), shard, shards, session)
        table = phantom_shard(chosen, settings.seed, sources, assets, root, logs, processes)
        write_table(table, out)
        record.inputs += map(Path, table["record"])
