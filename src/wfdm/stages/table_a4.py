"""Table A4: quality against network passes, of a denoiser and its students; not in the paper."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Out, Row
from wfdm.stages.inputs import labels, paths

Settings = reads("generators", "few_steps.reference")


def run(
    settings: Any,
    row: Row,
    ends: Annotated[list[str], "NAME=FILE; endpoints of a generator of the table, once for each."],
    times: Annotated[list[str], "NAME=FILE; times of a generator of the table, once for each."],
    many: Annotated[Path, "Endpoints of the many steps that all are compared with."],
    out: Out,
    label: Label = None,
) -> None:
    """Write the table as CSV, Markdown and LaTeX; rows without endpoints are references."""
    from wfdm.tables.table_a4 import Few, table_a4
    from wfdm.tables.written import write_table

    metrics, latents, clocks = paths(row), paths(ends), paths(times)
    names = labels(label, metrics)
    inputs = [many, *metrics.values(), *latents.values(), *clocks.values()]
    with recorded("table-a4", out, settings, inputs) as record:
        record.settings |= {"labels": names}
        few = {
            name: Few(settings.generators[name], metrics.pop(name), path, clocks[name])
            for name, path in latents.items()
        }
        against = f"{settings.reference.steps} steps of {settings.reference.sampler}"
        record.outputs = write_table(table_a4(few, metrics, many, against, names), out)
