"""Several draws of samples of one model: how far its scores move, and differences with an interval.

Draws are generators that differ in nothing but what their noise is drawn by: the number of the
draw, or where a row has none its name.
"""

from typing import Annotated

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Out, Row
from wfdm.stages.inputs import labels, pairs, paths


def run(
    row: Row,
    of: Annotated[list[str], "NAME=MODEL: whose draw a row is; once for each row."],
    out: Out,
    label: Label = None,
) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.tables.draws import draws
    from wfdm.tables.written import write_table

    rows, models = paths(row), pairs(of)
    families = {
        model: [path for name, path in rows.items() if models.get(name) == model]
        for model in models.values()
    }
    names = labels(label, families)
    with recorded("draws", out, None, rows.values()) as record:
        record.settings = {"labels": names, "of": models}
        record.outputs = write_table(draws(families, names), out)
