"""Gather the preprocessed volumes of all sessions that may go on in one table.

When all sessions are done, it is decided here whether a study with failed sessions goes on.
"""

from pathlib import Path
from typing import Any

from wfdm.config.reads import reads
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans, SessionTables
from wfdm.stages.inputs import present

Settings = reads("quality.exclusions", "quality.policy", "quality.ceiling")


def run(
    settings: Any,
    scans: Scans,
    sessions: SessionTables,
    out: Out,
) -> None:
    """Write the table of volumes, and what makes each dataset one of BIDS derivatives."""
    from wfdm.data.bids_dataset import describe
    from wfdm.data.exclusions import obey
    from wfdm.data.session_shards import records
    from wfdm.data.table import read_table, rows_of, write_table
    from wfdm.preprocess.quality.volumes_table import contents_of, enforce, gather

    rows = obey(rows_of(read_table(scans)), settings.exclusions)
    found = records(sessions)
    contents = contents_of(rows, found)
    if told := enforce(contents, settings, out.with_name("quality.html")):
        log.warning(f"wfdm: {told}")
    inputs = [scans, *sessions, *found.values(), *present(settings.exclusions)]
    with recorded("volumes", out, settings, inputs) as record:
        table = gather(rows, contents)
        described = describe(out.parent, map(Path, table["path"]), "preprocessed")
        write_table(table, out)
        record.outputs = [out, *described]
    log.info(f"{len(table)} volumes of {len(found)} sessions")
