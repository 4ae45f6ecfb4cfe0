"""Walk from an artefact back to the raw scans, verifying every digest on the way."""

from pathlib import Path
from typing import Annotated

from wfdm.stages.arguments import Positional


def run(artefact: Annotated[Path, Positional("Any file that the pipeline made.")]) -> None:
    """Print the chain of records."""
    from wfdm.provenance.audit import Audit

    found = Audit()
    for line in found.lines(artefact):
        print(line)
    print(f"verified: {found.artefacts} artefacts made from {found.sources} sources")
