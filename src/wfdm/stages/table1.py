"""Table 1 of the paper: scans per modality and split, with the reason of each difference."""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Note, Out, Published, Scans, Splits

Settings = reads("split.rule")


def run(
    settings: Any,
    scans: Scans,
    splits: Splits,
    published: Published,
    out: Out,
    note: Note = "",
) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_scans
    from wfdm.tables.table1 import table1
    from wfdm.tables.written import write_table

    with recorded("table1", out, settings, [scans, splits, published]) as record:
        record.settings |= {"note": note}
        table = table1(read_scans(scans), read_splits(splits), published, settings.rule, note)
        record.outputs = write_table(table, out)
