"""Figure A3: samples beside the training scans that they are nearest to; not the paper's."""

from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Column, Label, Picture, Volumes
from wfdm.stages.inputs import labels, paths

Settings = reads("volume", "figures.dpi")


def run(
    settings: Any,
    column: Column,
    samples: Annotated[list[str], "NAME=FILE; the samples of each column."],
    volumes: Volumes,
    out: Picture,
    label: Label = None,
) -> None:
    """Write the PDF and the PNG."""
    from wfdm.audits.memorisation import read_neighbours
    from wfdm.data.table import read_table
    from wfdm.figures.neighbours import figure_a3

    columns, made = paths(column), paths(samples)
    names = labels(label, columns)
    inputs = [*columns.values(), *made.values(), volumes]
    with recorded("figure-a3", out, settings, inputs) as record:
        record.settings |= {"labels": names}
        record.outputs = list(
            figure_a3(
                {names[key]: read_neighbours(path) for key, path in columns.items()},
                {names[key]: read_table(path) for key, path in made.items()},
                read_table(volumes),
                settings.volume,
                out.with_suffix(""),
                settings.dpi,
            )
        )
