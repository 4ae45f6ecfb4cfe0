"""Complete the sessions of a shard: remake what the test sessions have, or make what any lacks.

By default each scan of each test session with two modalities or more is made again, once from every
non-empty subset of the session's others, to be judged by the scan itself. With `--missing` every
session of the study is given the modalities that it lacks, from all that it has. A volume that
exists already, with exactly the sidecar that it would get, is kept; all are labelled synthetic.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans, Shard, Shards, Splits, Threads, Volumes
from wfdm.stages.inputs import device, models_behind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wfdm.generators.completion import Completing, Completion

Settings = reads("seed", "{completion}", "completions.{completion}.sampling")


def run(
    settings: Any,
    model: Annotated[Path, "model.safetensors of the completion."],
    scans: Scans,
    splits: Splits,
    volumes: Volumes,
    shard: Shard,
    shards: Shards,
    out: Out,
    threads: Threads = 1,
    missing: Annotated[bool, "Make what each session lacks, instead of what it has."] = False,
) -> None:
    """Write the shard's volumes, and a table of them."""
    import pandas as pd

    from wfdm.data.paths import sidecar_path
    from wfdm.data.table import write_table
    from wfdm.data.volumes import UNIT
    from wfdm.generators.completion import load
    from wfdm.generators.write import write_samples
    from wfdm.models.denoisers.branch_folder import read
    from wfdm.provenance.digests import sha256_of

    device(threads)
    denoiser = read(model.parent).denoiser
    trained = [denoiser / name for name in ("model.safetensors", "config.json")]
    inputs = [model, model.with_name("config.json"), *trained, scans, splits, volumes]
    with recorded("complete-cohort", out, settings, inputs, models_behind(denoiser)) as record:
        record.settings |= {"missing": missing}
        completion = load(model.parent, settings.sampling.exact, settings.sampling.draws)
        made = {
            path: request
            for path, request in _requests(completion, scans, splits, volumes, out.parent, missing)
            if _is_in(request, shard, shards)
        }
        what = f"complete with {settings.completion}"
        write_samples(completion, made, settings.seed, record.code, what)
        rows = [
            (each.name, each.modality, str(path), "+".join(each.sources))
            for path, each in made.items()
        ]
        table = pd.DataFrame(rows, columns=["scan_id", "modality", "path", "sources"])
        table["sha256"] = table["path"].map(cache(sha256_of))
        table["range"], table["synthetic"] = UNIT, "true"
        write_table(table, out)
        record.outputs = [out, *made, *map(sidecar_path, made)]


def _is_in(request: Completing, shard: int, shards: int) -> bool:
    """Tell whether a request is of a shard: sessions stay together, so sources are read once."""
    from wfdm.data.shards import in_shard

    session = request.name.rpartition("_")[0]
    return bool(in_shard([session], shard, shards))


def _requests(
    completion: Completion, scans: Path, splits: Path, volumes: Path, out: Path, missing: bool
) -> Iterator[tuple[Path, Completing]]:
    """Yield the path and the request of every volume, session by session.

    Raises UserError where scans are to be made again and the study has no test scan.
    """
    from wfdm.data.metadata import load_schema
    from wfdm.data.sessions import sessions_of
    from wfdm.data.split_table import encoded_scans
    from wfdm.data.table import read_table, rows_of
    from wfdm.stages.selection import test_scans

    paths = read_table(volumes).set_index("scan_id")["path"].to_dict()
    table = encoded_scans(scans, splits, volumes)
    used = table[table["modality"].isin(completion.frozen.modalities)]
    if not missing:
        used = test_scans(used, splits)
    rows = rows_of(used.assign(path=used["scan_id"].map(paths)))
    metadata = {row["scan_id"]: {name: row[name] for name in load_schema().names} for row in rows}
    for key, session in sessions_of(rows).items():
        there = {str(name): path for name, path in session.scans.items()}
        for target, sources in _pairs(completion.modalities, there, missing):
            # What no scanner made has no row: of its session the first source's tells.
            row = target if target in there else next(iter(sources))
            told = metadata[f"{key}_{row}"]
            yield _named(out, key, session, target, sources, told, missing)


def _named(
    out: Path,
    key: str,
    session: Any,
    target: str,
    sources: Mapping[str, Path],
    metadata: Mapping[str, str],
    missing: bool,
) -> tuple[Path, Completing]:
    """Return where a volume goes, and its request."""
    from wfdm.data.paths import SPACE, volume_name
    from wfdm.generators.completion import Completing

    word = "synthetic" if missing else f"syntheticFrom{''.join(sources)}"
    path = out / session.folder / volume_name(session.prefix, target, SPACE, word)
    return path, Completing(f"{key}_{target}", target, metadata, sources=sources)


def _pairs(
    made: tuple[str, ...], there: Mapping[str, Path], missing: bool
) -> Iterator[tuple[str, dict[str, Path]]]:
    """Yield each target of a session, and what it is made from."""
    from wfdm.data.table import MODALITIES

    names = [name for name in MODALITIES if name in there]
    for target in made:
        if missing and target not in there:
            yield target, {name: there[name] for name in names}
        if missing or target not in there:
            continue
        others = [name for name in names if name != target]
        for size in range(1, len(others) + 1):
            for chosen in combinations(others, size):
                yield target, {name: there[name] for name in chosen}
