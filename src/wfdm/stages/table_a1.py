"""Table A1: completed test scans by target and source set, beside the floors; not in the paper."""

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Out, Row
from wfdm.stages.inputs import labels, paths


def run(row: Row, out: Out, label: Label = None) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.tables.table_a1 import table_a1
    from wfdm.tables.written import write_table

    rows = paths(row)
    names = labels(label, rows)
    with recorded("table-a1", out, None, list(rows.values())) as record:
        record.settings = {"labels": names}
        record.outputs = write_table(table_a1(rows, names), out)
