"""Table 7 of the paper: seconds and memory of a volume, by scheduler and sampler."""

from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Note, Out, Published
from wfdm.stages.inputs import paths

Settings = reads("schedulers", "generators", "denoisers", "distilled")


def run(
    settings: Any,
    published: Published,
    out: Out,
    row: Annotated[
        list[str] | None, "KEY=FILE: times of the generator of a row; once for each."
    ] = None,
    note: Note = "",
) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.config.distilled import denoiser_of
    from wfdm.tables.systems import scheduler
    from wfdm.tables.timing import table7
    from wfdm.tables.written import write_table

    rows = paths(row or [])
    with recorded("table7", out, settings, [*rows.values(), published]) as record:
        record.settings |= {"note": note}
        made = {key: settings.generators[settings.schedulers[key].generator] for key in rows}
        schedulers = {
            key: scheduler(denoiser_of(settings, row.denoiser), row) for key, row in made.items()
        }
        record.outputs = write_table(table7(rows, schedulers, published, note), out)
