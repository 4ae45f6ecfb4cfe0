"""Gather the preprocessed volumes of all sessions that may go on in one table.

When all sessions are done, it is decided here whether a study with failed sessions goes on.
"""

from pathlib import Path
from typing import Annotated, Any

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
    page: Annotated[Path, "The quality page; its table lies beside it."],
    out: Out,
) -> None:
    """Write the table of volumes."""
    from wfdm.data.exclusions import obey
    from wfdm.data.session_shards import records
    from wfdm.data.table import read_table, rows_of, write_table
    from wfdm.preprocess.quality.volumes_table import enforce, gather

    rows = obey(rows_of(read_table(scans)), settings.exclusions)
    if told := enforce(read_table(page.with_suffix(".tsv")), settings, page):
        log.warning(f"wfdm: {told}")
    found = records(sessions)
    inputs = [scans, *sessions, *found.values(), *present(settings.exclusions)]
    with recorded("volumes", out, settings, inputs):
        table = gather(rows, found)
        write_table(table, out)
    log.info(f"{len(table)} volumes of {len(found)} sessions")
