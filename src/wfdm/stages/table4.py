"""Table 4 of the paper: realism and diversity of the synthetic scans by generator.

With a modality, only its scans count, beside its table of the appendix (12 to 15).
"""

from typing import Annotated

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Note, Out, Published, Row
from wfdm.stages.inputs import labels, paths


def run(
    row: Row,
    published: Published,
    out: Out,
    label: Label = None,
    note: Note = "",
    modality: Annotated[str | None, "Only its scans: tables 12 to 15 instead of 4."] = None,
    memorisation: Annotated[list[str] | None, "NAME=FILE; the audit of a row's samples."] = None,
) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.tables.memorised import lines
    from wfdm.tables.table4 import table4
    from wfdm.tables.written import write_table

    rows, audits = paths(row), paths(memorisation or [])
    names = labels(label, rows)
    with recorded("table4", out, None, [*rows.values(), *audits.values(), published]) as record:
        record.settings = {"labels": names, "note": note, "modality": modality}
        record.outputs = write_table(
            table4(rows, published, note, modality, names, lines(audits, modality)), out
        )
