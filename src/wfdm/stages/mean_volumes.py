"""Average the training scans, over all and by modality: what every model must beat."""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Splits, Volumes
from wfdm.stages.selection import split_volumes

Settings = reads("volume")


def run(settings: Any, volumes: Volumes, splits: Splits, out: Out) -> None:
    """Write the means (safetensors)."""
    from wfdm.data.mean_volumes import mean_volumes

    with recorded("mean-volumes", out, settings, [volumes, splits]):
        table = split_volumes(volumes, splits)
        mean_volumes(table[table["split"] == "train"], settings.volume, out)
