"""Judge how near samples come to training scans, against how near test scans come (table A3)."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out

Settings = reads("memorisation.copy_below")


def run(
    settings: Any,
    real: Annotated[Path, "Neighbours of the real scans of validation and test."],
    out: Out,
    samples: Annotated[Path | None, "Neighbours of samples; none: validation scans."] = None,
) -> None:
    """Write a row for each modality and space, and one of all modalities."""
    from wfdm.audits.memorisation import audit, read_neighbours
    from wfdm.data.table import write_csv

    with recorded("memorisation", out, settings, [real, *([samples] if samples else [])]):
        known = read_neighbours(real)
        judged = read_neighbours(samples) if samples else known[known["split"] == "validation"]
        write_csv(audit(judged, known[known["split"] == "test"], settings.copy_below), out)
