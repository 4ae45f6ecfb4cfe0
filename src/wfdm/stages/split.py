"""Divide people into train, validation and test; metadata statistics of the training split.

Nobody is in two splits (paper, 2.2.1). Only the published rule allows it; these people are then
listed.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans

Settings = reads("seed", "split", "metadata.statistics")


def run(
    settings: Any,
    scans: Scans,
    statistics: Annotated[Path, "Metadata statistics to write (JSON)."],
    leaks: Annotated[Path, "Table of people in two splits to write."],
    out: Out,
) -> None:
    """Write the split table, the statistics and the list of leaks."""
    from wfdm.data import split as splitting
    from wfdm.data.metadata import published_statistics, statistics_of, write_statistics
    from wfdm.data.table import SPLITS, read_scans, rows_of, write_table

    frozen = [Path(settings.split.file)] if settings.split.file else []
    with recorded("split", out, settings, [scans, *frozen]) as record:
        record.outputs = [out, statistics, leaks]
        table = read_scans(scans)
        splits = splitting.divide(table, settings.split, settings.seed)
        training = table[table["scan_id"].isin(splits.loc[splits["split"] == "train", "scan_id"])]
        own = settings.statistics == "training"
        found = statistics_of(rows_of(training)) if own else published_statistics()
        write_statistics(found, statistics)
        leaking = splitting.leaks(table, splits)
        write_table(leaking, leaks)
        write_table(splits, out)
    present = set(splits["split"])
    if lacking := [name for name in SPLITS if name not in present]:
        log.warning(
            f"wfdm: no scan is in {' or '.join(lacking)}: what needs one will stop; add people, or "
            "change the split's shares"
        )
    people = splits.drop_duplicates(["person", "split"])["split"].value_counts().to_dict()
    log.info(
        f"people: {people}, {len(leaking)} of them in two splits or more; "
        f"scans: {splits['split'].value_counts().to_dict()}"
    )
