"""Preprocess the sessions of one shard: registered, brain-extracted, normalised (paper, 2.3).

Each session has a log, a picture and a provenance record. One that cannot be used is recorded with
the reason while the others go on; one whose record is still true is left as it is. So a job that
was killed continues where it stopped, and a changed scan or exclusion redoes its session alone.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Exclusions, Logs, Only, Out, Processes, Scans, Shard, Shards
from wfdm.stages.inputs import verified

Settings = reads("seed", "preprocess")


def run(
    settings: Any,
    scans: Scans,
    atlas: Annotated[Path, "SRI-24, skull-stripped."],
    atlas_head: Annotated[Path, "SRI-24, whole head."],
    root: Annotated[Path, "Folder of the preprocessed sessions."],
    logs: Logs,
    out: Out,
    exclusions: Exclusions = None,
    shard: Shard = 0,
    shards: Shards = 1,
    processes: Processes = 1,
    session: Only = None,
    weights: Annotated[
        list[Path] | None, "Of the brain extractor, where a scan is raw: HD-BET, one per fold."
    ] = None,
) -> None:
    """Write the volumes of the sessions, a record of each, and a table of them."""
    from wfdm.data.exclusions import obey
    from wfdm.data.sessions import choose, sessions_of
    from wfdm.data.table import read_scans, rows_of, write_table
    from wfdm.preprocess.shard import preprocess_shard
    from wfdm.preprocess.work import needs_weights

    rows = obey(rows_of(read_scans(scans)), exclusions)
    chosen = choose(sessions_of(rows), shard, shards, session)
    asked = settings.preprocess
    verified([asked.atlas, asked.atlas_head], [atlas, atlas_head])
    raw = any(needs_weights(each) for each in chosen)
    networks = verified(asked.weights, weights) if raw else []
    # Not the exclusions: one that is no session's of this shard makes nothing here again.
    inputs = [scans, atlas, atlas_head, *networks]
    with recorded("preprocess", out, settings, inputs) as record:
        table = preprocess_shard(
            sessions=chosen,
            seed=settings.seed,
            settings=asked,
            atlas=atlas,
            atlas_head=atlas_head,
            weights=networks,
            root=root,
            logs=logs,
            processes=processes,
        )
        write_table(table, out)
        record.inputs += map(Path, table["record"])
