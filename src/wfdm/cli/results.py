"""Commands that end the study: tables, figures, the audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wfdm.atomic import write_text
from wfdm.cli import options
from wfdm.config import stages
from wfdm.config.compressors import read_architecture
from wfdm.config.files import parse_json
from wfdm.provenance.records import recorded

app = typer.Typer()
tables = typer.Typer(help="The paper's tables, beside this study's.", no_args_is_help=True)
figures = typer.Typer(help="The paper's figures.", no_args_is_help=True)

Note = Annotated[str, typer.Option(help="How this study differs from the paper.")]
Picture = Annotated[Path, typer.Option(help="The PDF; a PNG is written beside it.")]


@tables.command()
def table1(
    scans: options.Scans,
    splits: options.Splits,
    published: options.Published,
    rule: Annotated[str, typer.Option(help="How people were divided (split.rule).")],
    out: options.Out,
    note: Note = "",
) -> None:
    """Scans per modality and split."""
    from wfdm.data.split import read_splits
    from wfdm.data.table import read_scans
    from wfdm.evaluation import tables as made

    with recorded("tables", out, None, [scans, splits, published]):
        table = made.table1(read_scans(scans), read_splits(splits), published.parent, rule, note)
        made.write_csv(table, out)


@tables.command()
def table3(
    row: options.Row,
    floor: Annotated[Path, typer.Option(help="Scores of the mean training volume.")],
    published: options.Published,
    out: options.Out,
    note: Note = "",
    modality: Annotated[
        str | None, typer.Option(help="Only its scans: tables 8 to 11 instead of 3.")
    ] = None,
) -> None:
    """Reconstruction by compressor; with a modality, its table of the appendix."""
    from wfdm.evaluation import tables as made

    chosen = options.check_modality(modality) if modality else None
    rows = options.pairs(row)
    with recorded("tables", out, None, [*rows.values(), floor, published]):
        made.write_csv(made.table3(rows, floor, published.parent, note, chosen), out)


@tables.command()
def table4(
    row: options.Row, published: options.Published, out: options.Out, note: Note = ""
) -> None:
    """Realism and diversity by generator."""
    from wfdm.evaluation import tables as made

    rows = options.pairs(row)
    with recorded("tables", out, None, [*rows.values(), published]):
        made.write_csv(made.table4(rows, published.parent, note), out)


@tables.command()
def metrics(row: options.Row, out: options.Out) -> None:
    """This study's numbers of several tables as JSON, for `dvc metrics`."""
    from wfdm.evaluation import tables as made

    rows = options.pairs(row)
    with recorded("tables", out, None, rows.values()):
        write_text(out, json.dumps(made.metrics(rows), indent=1) + "\n")


@figures.command()
def figure1(settings: options.Settings, out: Picture) -> None:
    """The configured compressor and generator, with their true shapes."""
    from wfdm.figures.architecture import figure1 as draw

    stage = parse_json(stages.ArchitectureStage, settings)
    with recorded("figure1", out, stage, []) as run:
        run.outputs = list(draw(stage, out.with_suffix("")))


@figures.command()
def figure2(
    settings: options.Settings,
    column: options.Column,
    volumes: options.Volumes,
    splits: options.Splits,
    out: Picture,
    threads: options.Threads = 1,
) -> None:
    """Reconstructions of one test scan per modality, by compressor."""
    from wfdm.figures.reconstructions import figure2 as draw

    stage = parse_json(stages.FigureStage, settings)
    columns = options.pairs(column)
    inputs = [*columns.values(), volumes, splits]
    architectures = [read_architecture(path.parent).implementation for path in columns.values()]
    with recorded("figure2", out, stage, inputs, architectures) as run:
        device = options.device(threads)
        table = options.split_volumes(volumes, splits)
        folders = {label: path.parent for label, path in columns.items()}
        test = table[table["split"] == "test"]
        run.outputs = list(
            draw(
                folders,
                test,
                stage.volume,
                stage.seed,
                out.with_suffix(""),
                stage.figures.dpi,
                threads,
                device,
            )
        )


@figures.command()
def figure3(
    settings: options.Settings,
    column: options.Column,
    volumes: options.Volumes,
    splits: options.Splits,
    out: Picture,
) -> None:
    """One real test scan per modality beside samples of each generator."""
    from wfdm.data.table import read_table
    from wfdm.figures.samples import figure3 as draw

    stage = parse_json(stages.FigureStage, settings)
    columns = options.pairs(column)
    with recorded("figure3", out, stage, [*columns.values(), volumes, splits]) as run:
        table = options.split_volumes(volumes, splits)
        samples = {label: read_table(path) for label, path in columns.items()}
        test = table[table["split"] == "test"]
        stem = out.with_suffix("")
        run.outputs = list(draw(samples, test, stage.volume, stage.seed, stem, stage.figures.dpi))


@app.command()
def audit(
    artefact: Annotated[Path, typer.Argument(help="Any file that the pipeline made.")],
) -> None:
    """Walk from an artefact back to the raw scans, verifying every digest on the way."""
    from wfdm.provenance.audit import Audit

    found = Audit()
    for line in found.lines(artefact):
        print(line)
    print(f"verified: {found.artefacts} artefacts made from {found.sources} sources")
