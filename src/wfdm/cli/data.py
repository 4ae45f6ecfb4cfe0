"""Commands from raw scans to preprocessed volumes."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from wfdm.cli import options
from wfdm.config import stages
from wfdm.config.files import parse_json
from wfdm.errors import SessionError
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
    aliases: Annotated[Path, typer.Option(help="Table of aliases (config/people.tsv).")],
    report: Annotated[Path, typer.Option(help="Rejected records and notes, with reasons.")],
    people: Annotated[Path, typer.Option(help="People with several subject ids, with evidence.")],
    out: options.Out,
) -> None:
    """List every scan of every source, with its person, in one scan table."""
    from wfdm.data import findings
    from wfdm.data.index import build
    from wfdm.data.people import read_aliases
    from wfdm.data.table import write_scans, write_table

    stage = parse_json(stages.IndexStage, settings)
    with recorded("index", out, stage, [aliases]) as run:
        index = build(stage, str(raw), read_aliases(aliases))
        run.inputs += index.read
        run.outputs = [out, report, people]
        found = findings.report(index.findings)
        write_table(found, report)
        write_table(index.people, people)
        write_scans(index.scans, out)
    scans, outcomes = index.scans, found["outcome"].value_counts()
    counts = scans["modality"].value_counts().to_dict()
    print(
        f"{len(scans)} scans of {scans['person'].nunique()} people: {counts}; "
        f"{outcomes.get('rejected', 0)} records rejected, {outcomes.get('note', 0)} notes: {report}"
    )


@app.command()
def coverage(scans: options.Scans, out: options.Out) -> None:
    """Count how much of the cohort each metadata field covers, in all and per modality."""
    from wfdm.data.coverage import coverage as count
    from wfdm.data.table import read_scans, write_table

    with recorded("coverage", out, None, [scans]):
        write_table(count(read_scans(scans)), out)


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
    leaks: Annotated[Path, typer.Option(help="Table of people in two splits to write.")],
) -> None:
    """Divide people into train, validation and test; metadata statistics of the training split."""
    from wfdm.data import split as splitting
    from wfdm.data.metadata import published_statistics, statistics_of, write_statistics
    from wfdm.data.table import read_scans, rows_of, write_table

    stage = parse_json(stages.SplitStage, settings)
    frozen = [Path(stage.split.file)] if stage.split.file else []
    with recorded("split", out, stage, [scans, *frozen]) as run:
        run.outputs = [out, statistics, leaks]
        table = read_scans(scans)
        splits = splitting.divide(table, stage.split, stage.seed)
        training = table[table["scan_id"].isin(splits.loc[splits["split"] == "train", "scan_id"])]
        own = stage.statistics == "training"
        write_statistics(
            statistics_of(rows_of(training)) if own else published_statistics(), statistics
        )
        leaking = splitting.leaks(table, splits)
        write_table(leaking, leaks)
        write_table(splits, out)
    people = splits.drop_duplicates(["person", "split"])["split"].value_counts().to_dict()
    print(
        f"people: {people}, {len(leaking)} of them in two splits or more; "
        f"scans: {splits['split'].value_counts().to_dict()}"
    )


@app.command()
def preprocess(
    settings: options.Settings,
    dataset: Annotated[str, typer.Option(help="Dataset label.")],
    session: Annotated[str, typer.Option(help="File name prefix: sub-SUBJECT[_ses-SESSION].")],
    scan: options.Scan,
    atlas: Annotated[Path, typer.Option(help="SRI-24, skull-stripped.")],
    atlas_head: Annotated[Path, typer.Option(help="SRI-24, whole head.")],
    record: options.Record,
    state: Annotated[str, typer.Option(help="raw, preprocessed, skull or identity.")] = "raw",
    weights: Annotated[list[Path] | None, typer.Option(help="HD-BET, one per fold.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of brain extraction on a CPU.")] = 1,
    tolerate: Annotated[
        bool, typer.Option(help="Record a session that cannot be used instead of failing.")
    ] = False,
) -> None:
    """Bring one session's scans to the atlas: registered, brain-extracted, normalised."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before numpy: one session is one core's work
    from wfdm.atomic import write_text
    from wfdm.data.assets import verify
    from wfdm.preprocess.brain_extraction import Resources
    from wfdm.preprocess.session import preprocess_session
    from wfdm.seeds import seed_for

    stage = parse_json(stages.PreprocessStage, settings)
    scans = options.modality_paths(scan)
    options.check_state(state)
    verify(stage.preprocess.atlas, atlas)
    verify(stage.preprocess.atlas_head, atlas_head)
    networks = weights or []
    for name, path in zip(stage.preprocess.weights, networks, strict=False):
        verify(name, path)
    inputs = [*scans.values(), atlas, atlas_head, *networks]
    with recorded("preprocess", record, stage, inputs) as run:
        try:
            result = preprocess_session(
                scans,
                record.parent,
                session,
                stage.preprocess,
                seed_for(stage.seed, "preprocess", dataset, session),
                atlas,
                atlas_head,
                state,
                Resources(networks, threads),
            )
        except SessionError as error:
            if not tolerate:
                raise
            note = record.with_name(f"{session}_desc-preproc_failed.txt")
            write_text(note, f"{error}\n")
            run.inputs = [path for path in inputs if path.is_file()]
            run.outputs, run.results = [note], {"failed": str(error)}
            print(f"wfdm: {dataset} {session} failed: {error}", file=sys.stderr)
            return
        run.outputs, run.results = result.files(), result.numbers()
    print(
        f"{dataset} {session}: {' '.join(scans)}, brain {result.mask_ml:.0f} mL, "
        f"Dice with the atlas {result.atlas_dice:.3f}"
    )


@app.command()
def digests(
    file: Annotated[list[Path], typer.Option(help="A file; once for each.")], out: options.Out
) -> None:
    """Note the sha256 of files in one table, which then stands for them in a plan."""
    from wfdm.data.manifest import digest_table
    from wfdm.data.table import write_table

    with recorded("digests", out, None, file):
        write_table(digest_table(file), out)


@app.command()
def quality(
    settings: options.Settings,
    scans: options.Scans,
    root: Annotated[Path, typer.Option(help="Folder of the preprocessed sessions.")],
    logs: Annotated[Path, typer.Option(help="Folder of their logs.")],
    study: Annotated[str, typer.Option(help="Name of the study, for the title.")],
    out: options.Out,
) -> None:
    """Show every session's quality on one HTML page, the worst first, with a table beside it."""
    from wfdm.atomic import write_text
    from wfdm.data.exclusions import obey
    from wfdm.data.paths import session_record
    from wfdm.data.table import read_table, rows_of, write_table
    from wfdm.preprocess.quality import collect, flag
    from wfdm.preprocess.quality_page import page

    stage = parse_json(stages.QualityStage, settings).quality
    rows = obey(rows_of(read_table(scans)), stage.exclusions)
    records = {Path(session_record(root, row, "preproc")) for row in rows}
    with recorded("quality", out, None, [scans, *records]) as run:
        found = flag(collect(rows, root, logs), stage)
        table = out.with_suffix(".tsv")
        write_table(found, table)
        write_text(out, page(found, out, study, stage.z, stage.exclusions))
        run.outputs = [out, table]
    failed = int((found["status"] == "failed").sum())
    print(f"{len(found)} sessions, {failed} failed, {int((found['flags'] != '').sum())} flagged")


@app.command()
def volumes(
    settings: options.Settings,
    scans: options.Scans,
    root: Annotated[Path, typer.Option(help="Folder of the preprocessed sessions.")],
    page: Annotated[Path, typer.Option(help="The quality page; its table lies beside it.")],
    out: options.Out,
) -> None:
    """Gather the preprocessed volumes of all sessions that may go on in one table."""
    from wfdm.data.exclusions import obey
    from wfdm.data.paths import session_record
    from wfdm.data.table import read_table, rows_of, write_table
    from wfdm.preprocess.volumes_table import enforce, gather

    stage = parse_json(stages.QualityStage, settings).quality
    rows = obey(rows_of(read_table(scans)), stage.exclusions)
    records = {Path(session_record(root, row, "preproc")) for row in rows}
    if told := enforce(read_table(page.with_suffix(".tsv")), stage, page):
        print(f"wfdm: {told}", file=sys.stderr)
    with recorded("volumes", out, None, [scans, *records]):
        found = gather(rows, root)
        write_table(found, out)
    print(f"{len(found)} volumes of {len(records)} sessions")


@app.command()
def image_hash(
    settings: options.Settings,
    volumes: options.Volumes,
    shard: options.Shard,
    shards: options.Shards,
    out: options.Out,
) -> None:
    """Describe the volumes of one shard for the search of near-duplicates."""
    from wfdm.data.near_duplicates import describe_shard
    from wfdm.data.table import read_table

    stage = parse_json(stages.ImageHashStage, settings)
    with recorded("near-duplicates", out, stage, [volumes]) as run:
        run.outputs = [out, out.with_suffix(".tsv")]
        count = describe_shard(read_table(volumes), shard, shards, stage.volume, out)
    print(f"{count} volumes described")


@app.command()
def near_duplicates(
    settings: options.Settings,
    scans: options.Scans,
    hashes: Annotated[list[Path], typer.Option(help="A shard of image hashes; once for each.")],
    out: options.Out,
) -> None:
    """List pairs of scans of two people that look like one person's, for review."""
    from wfdm.data.near_duplicates import find_pairs, read_shards
    from wfdm.data.table import read_scans, write_table

    stage = parse_json(stages.NearDuplicatesStage, settings)
    with recorded("near-duplicates", out, stage, [scans, *hashes]) as run:
        keys, coefficients = read_shards(hashes)
        run.inputs += [path.with_suffix(".tsv") for path in hashes]
        table = read_scans(scans)
        persons = dict(zip(table["scan_id"], table["person"], strict=True))
        pairs, notes = find_pairs(keys, coefficients, persons, stage.near_duplicate)
        write_table(pairs, out)
    print("\n".join([f"{len(pairs)} pairs to review: {out}", *notes]))


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
