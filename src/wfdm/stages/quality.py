"""Show every session's quality on one HTML page, the worst first, with a table beside it."""

from typing import Any

from wfdm.config.reads import reads
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Logs, Out, Scans, SessionTables
from wfdm.stages.inputs import present

Settings = reads("study", "quality.exclusions", "quality.z")


def run(settings: Any, scans: Scans, sessions: SessionTables, logs: Logs, out: Out) -> None:
    """Write the page, and the table."""
    from wfdm.atomic import write_text
    from wfdm.data.exclusions import obey
    from wfdm.data.session_shards import records
    from wfdm.data.table import read_table, rows_of, write_table
    from wfdm.preprocess.quality.numbers import collect, flag
    from wfdm.preprocess.quality.page import page

    rows = obey(rows_of(read_table(scans)), settings.exclusions)
    found = records(sessions)
    inputs = [scans, *sessions, *found.values(), *present(settings.exclusions)]
    with recorded("quality", out, settings, inputs) as record:
        table = flag(collect(rows, found, logs), settings.z)
        write_table(table, out.with_suffix(".tsv"))
        write_text(out, page(table, out, settings.study, settings.z, settings.exclusions))
        record.outputs = [out, out.with_suffix(".tsv")]
    failed, flagged = (table["status"] == "failed").sum(), (table["flags"] != "").sum()
    log.info(f"{len(table)} sessions, {failed} failed, {flagged} flagged")
