"""Count how much of the cohort each metadata field covers, in all and per modality."""

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans


def run(scans: Scans, out: Out) -> None:
    """Write the counts."""
    from wfdm.data.coverage import coverage
    from wfdm.data.table import read_scans, write_table

    with recorded("coverage", out, None, [scans]):
        write_table(coverage(read_scans(scans)), out)
