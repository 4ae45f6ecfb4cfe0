"""Table A2: what changes in samples when one field of the metadata does; not in the paper."""

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Out, Row
from wfdm.stages.inputs import labels, paths


def run(row: Row, out: Out, label: Label = None) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.tables.table_a2 import table_a2
    from wfdm.tables.written import write_table

    rows = paths(row)
    names = labels(label, rows)
    with recorded("table-a2", out, None, list(rows.values())) as record:
        record.settings = {"labels": names}
        record.outputs = write_table(table_a2(rows, names), out)
