"""Commands from raw scans to preprocessed volumes."""

import os
from pathlib import Path
from typing import Annotated

import typer

from wfdm.cli import options
from wfdm.config import stages
from wfdm.config.files import parse_json
from wfdm.provenance.records import recorded

app = typer.Typer()


@app.command()
def asset(
    name: Annotated[str, typer.Argument(help="Name in config/assets.yaml.")],
    out: options.Out,
    file: Annotated[Path | None, typer.Option(help="Take this file instead of fetching.")] = None,
) -> None:
    """Retrieve an asset and verify its checksum."""
    from wfdm.data.assets import retrieve

    with recorded("asset", out, None, []) as run:
        run.settings = {"name": name}
        retrieve(name, out, file)


@app.command()
def index(
    settings: options.Settings,
    raw: Annotated[Path, typer.Option(help="Where phantom scans will be written.")],
    out: options.Out,
) -> None:
    """List every scan of every source in one scan table."""
    from wfdm.data.index import build
    from wfdm.data.table import write_scans

    stage = parse_json(stages.IndexStage, settings)
    with recorded("index", out, stage, []):
        scans = build(stage, str(raw))
        write_scans(scans, out)
    counts = scans["modality"].value_counts().to_dict()
    print(f"{len(scans)} scans of {scans['person'].nunique()} people: {counts}")


@app.command()
def phantom(
    settings: options.Settings,
    dataset: Annotated[str, typer.Option(help="Pseudo-dataset.")],
    session: Annotated[str, typer.Option(help="File name prefix: sub-SUBJECT[_ses-SESSION].")],
    head: Annotated[Path, typer.Option(help="Template head.")],
    brain: Annotated[Path, typer.Option(help="The same head, skull-stripped.")],
    scan: options.Scan,
    record: options.Record,
) -> None:
    """Make the raw scans of one phantom session."""
    from wfdm.data.acquisition import synthesise_session

    stage = parse_json(stages.PhantomStage, settings)
    entities = dict(part.split("-", 1) for part in session.split("_"))
    outputs = options.modality_paths(scan)
    with recorded("phantom", record, stage, [head, brain]) as run:
        run.outputs = list(outputs.values())
        synthesise_session(
            stage.source,
            stage.seed,
            dataset,
            entities["sub"],
            entities.get("ses", ""),
            head,
            brain,
            outputs,
        )


@app.command()
def split(
    settings: options.Settings,
    scans: options.Scans,
    out: options.Out,
    statistics: Annotated[Path, typer.Option(help="Metadata statistics to write (JSON).")],
) -> None:
    """Divide people into train, validation and test; metadata statistics of the training split."""
    from wfdm.data.metadata import statistics_of, write_statistics
    from wfdm.data.split import split_people
    from wfdm.data.table import read_scans, rows_of, write_table

    stage = parse_json(stages.SplitStage, settings)
    with recorded("split", out, stage, [scans]) as run:
        run.outputs = [out, statistics]
        table = read_scans(scans)
        splits = split_people(table, stage.split, stage.seed)
        training = set(splits.loc[splits["split"] == "train", "scan_id"])
        rows = rows_of(table[table["scan_id"].isin(training)])
        write_statistics(statistics_of(rows), statistics)
        write_table(splits, out)
    people = splits.drop_duplicates("person")["split"].value_counts().to_dict()
    print(f"people: {people}; scans: {splits['split'].value_counts().to_dict()}")


@app.command()
def preprocess(
    settings: options.Settings,
    dataset: Annotated[str, typer.Option(help="Dataset label.")],
    session: Annotated[str, typer.Option(help="File name prefix: sub-SUBJECT[_ses-SESSION].")],
    scan: options.Scan,
    atlas: Annotated[Path, typer.Option(help="SRI-24, skull-stripped.")],
    atlas_head: Annotated[Path, typer.Option(help="SRI-24, whole head.")],
    record: options.Record,
) -> None:
    """Bring one session's scans to the atlas: registered, brain-extracted, normalised."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before numpy: one session is one core's work
    from wfdm.data.assets import verify
    from wfdm.preprocess.session import preprocess_session
    from wfdm.seeds import seed_for

    stage = parse_json(stages.PreprocessStage, settings)
    scans = options.modality_paths(scan)
    verify(stage.preprocess.atlas, atlas)
    verify(stage.preprocess.atlas_head, atlas_head)
    with recorded("preprocess", record, stage, [*scans.values(), atlas, atlas_head]) as run:
        result = preprocess_session(
            scans,
            record.parent,
            session,
            stage.preprocess,
            seed_for(stage.seed, "preprocess", dataset, session),
            atlas,
            atlas_head,
        )
        paths = result.paths
        run.outputs = [
            *(*paths.volumes.values(), *paths.transforms.values()),
            *(paths.mask, paths.picture),
        ]
        run.results = {
            "volumes": {name: str(path) for name, path in result.paths.volumes.items()},
            "reference": result.reference,
            "mask_ml": result.mask_ml,
            "atlas_dice": result.atlas_dice,
            "similarity": result.similarity,
        }
    print(
        f"{dataset} {session}: {' '.join(scans)}, brain {result.mask_ml:.0f} mL, "
        f"Dice with the atlas {result.atlas_dice:.3f}"
    )


@app.command()
def volumes(
    scans: options.Scans,
    root: Annotated[Path, typer.Option(help="Folder of the preprocessed sessions.")],
    out: options.Out,
) -> None:
    """Gather the preprocessed volumes of all sessions in one table."""
    from wfdm.data.paths import session_record
    from wfdm.data.table import read_scans, rows_of, write_table
    from wfdm.preprocess.volumes_table import gather

    table = read_scans(scans)
    records = {Path(session_record(root, row, "preproc")) for row in rows_of(table)}
    with recorded("volumes", out, None, [scans, *records]):
        found = gather(table, root)
        write_table(found, out)
    print(f"{len(found)} volumes of {len(records)} sessions")


@app.command()
def manifest(scans: options.Scans, out: options.Out) -> None:
    """List every raw scan with its size and sha256: the data snapshot that DVC versions."""
    from wfdm.data.manifest import build
    from wfdm.data.table import read_scans, write_table

    table = read_scans(scans)
    with recorded("manifest", out, None, [scans]):
        found = build(table)
        write_table(found, out)
    print(f"{len(found)} raw scans, {found['bytes'].sum() / 1e6:.0f} MB")
