"""Table A3: samples beside their nearest training scans, and training scans beside others.

It is not in the paper.
"""

from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Out, Row
from wfdm.stages.inputs import labels, paths

Settings = reads("memorisation.copy_below")


def run(
    settings: Any,
    row: Row,
    out: Out,
    label: Label = None,
    membership: Annotated[list[str] | None, "NAME=FILE; AUC of a row's denoiser."] = None,
) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.tables.table_a3 import table_a3
    from wfdm.tables.written import write_table

    rows, scores = paths(row), paths(membership or [])
    names = labels(label, rows)
    with recorded("table-a3", out, settings, [*rows.values(), *scores.values()]) as record:
        record.settings |= {"labels": names}
        record.outputs = write_table(table_a3(rows, scores, settings.copy_below, names), out)
