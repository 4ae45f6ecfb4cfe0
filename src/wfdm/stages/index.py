"""List every scan of every source, with its person, in one scan table.

A report lists what a source could not use, with the reason. A table lists the people with several
subject ids, with the evidence.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out

Settings = reads("seed", "sources", "metadata.age_group_from_age")


def run(
    settings: Any,
    raw: Annotated[Path, "Where phantom scans will be written."],
    aliases: Annotated[Path, "Table of aliases (config/people.tsv)."],
    report: Annotated[Path, "Rejected records and notes, with reasons, to write."],
    people: Annotated[Path, "People with several subject ids, with evidence, to write."],
    out: Out,
) -> None:
    """Write the scan table, the report and the table of people."""
    from wfdm.data import findings
    from wfdm.data.index import build
    from wfdm.data.people import read_aliases
    from wfdm.data.table import write_scans, write_table

    with recorded("index", out, settings, [aliases]) as record:
        index = build(
            settings.sources,
            settings.seed,
            settings.age_group_from_age,
            str(raw),
            read_aliases(aliases),
        )
        record.inputs += index.read
        record.outputs = [out, report, people]
        found = findings.report(index.findings)
        write_table(found, report)
        write_table(index.people, people)
        write_scans(index.scans, out)
    scans, outcomes = index.scans, found["outcome"].value_counts()
    counts = scans["modality"].value_counts().to_dict()
    log.info(
        f"{len(scans)} scans of {scans['person'].nunique()} people: {counts}; "
        f"{outcomes.get('rejected', 0)} records rejected, {outcomes.get('note', 0)} notes, "
        f"{outcomes.get('other', 0)} other files: {report}"
    )
