"""Table 3 of the paper: reconstruction of the test split by each compressor.

With a modality, only its scans count, beside its table of the appendix (8 to 11). The rows of the
mean training volume show what a model that ignores its input would reach.
"""

from pathlib import Path
from typing import Annotated

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Note, Out, Published, Row
from wfdm.stages.inputs import labels, paths


def run(
    row: Row,
    floor: Annotated[Path, "Scores of the mean training volume."],
    published: Published,
    out: Out,
    label: Label = None,
    note: Note = "",
    modality: Annotated[str | None, "Only its scans: tables 8 to 11 instead of 3."] = None,
) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.tables.table3 import table3
    from wfdm.tables.written import write_table

    rows = paths(row)
    names = labels(label, rows)
    with recorded("table3", out, None, [*rows.values(), floor, published]) as record:
        record.settings = {"labels": names, "note": note, "modality": modality}
        table = table3(rows, floor, published, note, modality, names)
        record.outputs = write_table(table, out)
