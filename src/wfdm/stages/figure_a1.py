"""Figure A1: a test scan per modality, made again from others of its session; not the paper's."""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Column, Label, Picture, Volumes
from wfdm.stages.inputs import labels, paths

Settings = reads("seed", "volume", "figures.dpi")


def run(settings: Any, column: Column, volumes: Volumes, out: Picture, label: Label = None) -> None:
    """Write the PDF and the PNG."""
    from wfdm.data.table import read_table
    from wfdm.figures.completions import figure_a1

    columns = paths(column)
    names = labels(label, columns)
    with recorded("figure-a1", out, settings, [*columns.values(), volumes]) as record:
        record.settings |= {"labels": names}
        made = figure_a1(
            {names[name]: read_table(path) for name, path in columns.items()},
            read_table(volumes),
            settings.volume,
            settings.seed,
            out.with_suffix(""),
            settings.dpi,
        )
        record.outputs = list(made)
