"""Table 4 of the paper: realism and diversity of the synthetic scans by generator."""

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Note, Out, Published, Row
from wfdm.stages.inputs import labels, paths


def run(
    row: Row,
    published: Published,
    out: Out,
    label: Label = None,
    note: Note = "",
) -> None:
    """Write the table."""
    from wfdm.data.table import write_csv
    from wfdm.tables.table4 import table4

    rows = paths(row)
    names = labels(label, rows)
    with recorded("table4", out, None, [*rows.values(), published]) as record:
        record.settings = {"labels": names, "note": note}
        write_csv(table4(rows, published, note, names), out)
