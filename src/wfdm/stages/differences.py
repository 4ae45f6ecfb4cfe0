"""List every setting in which this study differs from the paper's, beside the tables.

Keys that change no number (a star in configuration.md) and labels are left out.
"""

from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out
from wfdm.stages.inputs import pairs

Settings = reads(
    *("seed", "sources", "people", "metadata", "split", "preprocess", "quality", "volume"),
    *("compressor_training", "compressors", "denoisers", "distilled", "gans", "generators"),
    *("schedulers", "completions", "controllability", "memorisation", "few_steps"),
    *("evaluation", "timing", "figures"),
)


def run(
    settings: Any,
    out: Out,
    absent: Annotated[
        list[str] | None, "NAME=FILE; a compressor left out, for its weights are not placed."
    ] = None,
) -> None:
    """Write the list; it is empty where the study is the paper's."""
    from wfdm.config.study import Study
    from wfdm.data.table import write_csv
    from wfdm.tables.differences import differences, table

    missing = pairs(absent or [])
    with recorded("differences", out, settings, []) as record:
        record.settings |= {"absent": missing}
        found = differences(Study(**dict(settings)), missing)
        write_csv(table(found), out)
    log.info(f"{len(found)} settings differ from the paper's study")
