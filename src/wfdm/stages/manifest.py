"""List every raw scan with its size and sha256: the data snapshot that DVC versions."""

from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans


def run(scans: Scans, out: Out) -> None:
    """Write the manifest."""
    from wfdm.data.manifest import build
    from wfdm.data.table import read_scans, write_table

    table = read_scans(scans)
    with recorded("manifest", out, None, [scans]):
        found = build(table)
        write_table(found, out)
    log.info(f"{len(found)} raw scans, {found['bytes'].sum() / 1e6:.0f} MB")
