"""Figure A4: quality against network passes, out of table A4; not in the paper."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Picture

Settings = reads("figures.dpi")


def run(settings: Any, table: Annotated[Path, "Table A4, as CSV."], out: Picture) -> None:
    """Write the PDF and the PNG."""
    from wfdm.evaluation.few_steps_columns import DISTANCE, FLOOR, PASSES
    from wfdm.figures.few_steps import figure_a4
    from wfdm.tables.measured import read_measured

    with recorded("figure-a4", out, settings, [table]) as record:
        read = read_measured(table, (PASSES, DISTANCE, FLOOR, "FID", "FID low", "FID high"))
        record.outputs = [*figure_a4(read, out.with_suffix(""), settings.dpi)]
