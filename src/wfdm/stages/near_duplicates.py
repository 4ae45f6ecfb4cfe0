"""List pairs of scans of two people that look like one person's, for review."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans

Settings = reads("people.near_duplicate")


def run(
    settings: Any,
    scans: Scans,
    hashes: Annotated[list[Path], "A shard of image hashes; once for each."],
    out: Out,
) -> None:
    """Write the pairs, the nearest first."""
    from wfdm.data.near_duplicates import find_pairs, read_shards
    from wfdm.data.table import read_scans, write_table

    inputs = [scans, *hashes, *(path.with_suffix(".tsv") for path in hashes)]
    with recorded("near-duplicates", out, settings, inputs):
        keys, coefficients = read_shards(hashes)
        table = read_scans(scans)
        persons = dict(zip(table["scan_id"], table["person"], strict=True))
        pairs, notes = find_pairs(keys, coefficients, persons, settings.near_duplicate)
        write_table(pairs, out)
    log.info("\n".join([f"{len(pairs)} pairs to review: {out}", *notes]))
