"""Figure 3 of the paper: one real test scan per modality beside each generator's sample for it.

With a modality, only its scan and samples, in three planes: figures 4 to 7 (appendix C).
"""

from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Column, Label, Picture, Splits, Volumes
from wfdm.stages.inputs import labels, paths
from wfdm.stages.selection import split_volumes

Settings = reads("seed", "volume", "figures.dpi")


def run(
    settings: Any,
    column: Column,
    volumes: Volumes,
    splits: Splits,
    out: Picture,
    label: Label = None,
    modality: Annotated[str | None, "Only its scans: figures 4 to 7 instead of 3."] = None,
) -> None:
    """Write the PDF and the PNG."""
    from wfdm.data.table import read_table
    from wfdm.figures.samples import figure3, figures4to7

    columns = paths(column)
    names = labels(label, columns)
    with recorded("figure3", out, settings, [*columns.values(), volumes, splits]) as record:
        record.settings |= {"labels": names, "modality": modality}
        table = split_volumes(volumes, splits)
        given = (
            {names[name]: read_table(path) for name, path in columns.items()},
            table[table["split"] == "test"],
            settings.volume,
            settings.seed,
            out.with_suffix(""),
            settings.dpi,
        )
        record.outputs = list(figures4to7(modality, *given) if modality else figure3(*given))
