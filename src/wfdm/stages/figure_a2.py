"""Figure A2: asked values against measured volumes, a noise at every value; not in the paper."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Picture, Scans

Settings = reads("volume", "figures.dpi", "controllability.{generator}.fields")


def run(
    settings: Any,
    measured: Annotated[Path, "Measures of the volumes that are compared."],
    scans: Scans,
    out: Picture,
) -> None:
    """Write the PDF and the PNG."""
    from wfdm.data.table import read_scans
    from wfdm.evaluation.controls import of_fields, read_controlled
    from wfdm.figures.controls import figure_a2

    with recorded("figure-a2", out, settings, [measured, scans]) as record:
        table, measures = read_controlled(measured)
        told = of_fields(table, read_scans(scans), settings.fields)
        record.outputs = [
            *figure_a2(
                told, settings.fields, measures, settings.volume, out.with_suffix(""), settings.dpi
            )
        ]
