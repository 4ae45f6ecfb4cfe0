"""Figure 2 of the paper: one test scan per modality, and its reconstruction by each compressor."""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Column, Label, Picture, Splits, Threads, Volumes
from wfdm.stages.inputs import architecture_of, device, labels, paths
from wfdm.stages.selection import split_volumes

Settings = reads("seed", "volume", "figures.dpi")


def run(
    settings: Any,
    column: Column,
    volumes: Volumes,
    splits: Splits,
    out: Picture,
    label: Label = None,
    threads: Threads = 1,
) -> None:
    """Write the PDF and the PNG."""
    from wfdm.figures.reconstructions import figure2

    columns = paths(column)
    names = labels(label, columns)
    inputs = [*columns.values(), volumes, splits]
    architectures = [architecture_of(path) for path in columns.values()]
    with recorded("figure2", out, settings, inputs, architectures) as record:
        record.settings |= {"labels": names}
        where = device(threads)
        table = split_volumes(volumes, splits)
        made = figure2(
            {names[name]: path.parent for name, path in columns.items()},
            table[table["split"] == "test"],
            settings.volume,
            settings.seed,
            out.with_suffix(""),
            settings.dpi,
            where,
        )
        record.outputs = list(made)
