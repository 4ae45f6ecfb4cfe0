"""Write what the report shows: tables and figures, the worst sessions, the study at a glance.

Each page holds all it needs, so that the report is one file.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Logs, Out
from wfdm.stages.inputs import paths

Settings = reads("study", "results", "quality.exclusions", "quality.z")


def run(
    settings: Any,
    contents: Annotated[Path, "The paper's tables and figures (config/published/contents.csv)."],
    made: Annotated[list[str], "KEY=FILE of a table or figure of the paper; once for each."],
    data: Annotated[list[str], "TITLE=FILE of another table to show; once for each."],
    quality: Annotated[Path, "Table of the sessions' quality (preprocessed/quality.tsv)."],
    logs: Logs,
    out: Out,
) -> None:
    """Write the study at a glance, and the other pages beside it."""
    from wfdm.atomic import write_text
    from wfdm.preprocess.quality.page import read_flagged, worst_page
    from wfdm.tables.overview import contents as listing
    from wfdm.tables.overview import overview
    from wfdm.tables.pages import write_figure, write_page

    files, others = paths(made), paths(data)
    inputs = [contents, quality, *files.values(), *others.values()]
    with recorded("pages", out, settings, inputs) as record:
        listed = listing(contents, files)
        titles = {f"{row['name']}: {row['caption']}": Path(row["file"]) for row in listed}
        shown = {title: file for title, file in (titles | others).items() if file.name}
        for title, file in shown.items():
            write = write_figure if file.suffix == ".png" else write_page
            record.outputs.append(write(file, out.with_name(f"{file.stem}.html"), title))
        worst = out.with_name("quality.html")
        limits = (settings.z, settings.exclusions)
        write_text(worst, worst_page(read_flagged(quality), settings.study, *limits))
        write_text(out, overview(settings.study, listed, Path(settings.results), logs))
        record.outputs += [worst, out]
