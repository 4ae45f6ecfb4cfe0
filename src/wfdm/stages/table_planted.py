"""Planted duplicates that were found, by denoiser and number of copies; not in the paper."""

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Out, Row
from wfdm.stages.inputs import labels, paths


def run(row: Row, out: Out, label: Label = None) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.tables.table_a3 import planted_table
    from wfdm.tables.written import write_table

    rows = paths(row)
    names = labels(label, rows)
    with recorded("table-planted", out, None, list(rows.values())) as record:
        record.settings = {"labels": names}
        record.outputs = write_table(planted_table(rows, names), out)
