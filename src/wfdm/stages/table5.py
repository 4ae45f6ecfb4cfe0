"""Table 5 of the paper: one model family under several schedulers and samplers.

With a modality, only its scans count, beside its table of the appendix (16 to 19).
"""

from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Note, Out, Published
from wfdm.stages.inputs import labels, paths

Settings = reads("schedulers", "generators", "denoisers", "distilled")


def run(
    settings: Any,
    published: Published,
    out: Out,
    row: Annotated[
        list[str] | None,
        "KEY=FILE: metrics of the generator of a row, or of the reference of that name; once for "
        "each.",
    ] = None,
    label: Label = None,
    note: Note = "",
    modality: Annotated[str | None, "Only its scans: tables 16 to 19 instead of 5."] = None,
) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.config.distilled import denoiser_of
    from wfdm.tables.systems import scheduler
    from wfdm.tables.table5 import Scheduler, table5
    from wfdm.tables.written import write_table

    rows = paths(row or [])
    names = labels(label, rows)
    with recorded("table5", out, settings, [*rows.values(), published]) as record:
        record.settings |= {"labels": names, "note": note, "modality": modality}
        schedulers = {key: Scheduler(name) for key, name in names.items()}
        for key in settings.schedulers.keys() & rows.keys():
            made = settings.generators[settings.schedulers[key].generator]
            schedulers[key] = scheduler(denoiser_of(settings, made.denoiser), made)
        record.outputs = write_table(table5(schedulers, rows, published, note, modality), out)
