"""Table 6 of the paper: seconds and memory of a volume, by generator."""

from typing import Annotated

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Note, Out, Published
from wfdm.stages.inputs import labels, paths


def run(
    published: Published,
    out: Out,
    row: Annotated[list[str] | None, "NAME=FILE: times of a generator; once for each."] = None,
    label: Label = None,
    note: Note = "",
) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.tables.timing import table6
    from wfdm.tables.written import write_table

    rows = paths(row or [])
    names = labels(label, rows)
    with recorded("table6", out, None, [*rows.values(), published]) as record:
        record.settings |= {"labels": names, "note": note}
        record.outputs = write_table(table6(rows, names, published, note), out)
