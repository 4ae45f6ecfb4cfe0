"""Make one synthetic scan for every test scan of a shard, with its modality and metadata.

One sample per real test scan, as the paper's evaluation has it (2.5.7). A volume that exists
already, with exactly the sidecar that it would get, is kept. A folder of finished volumes gives all
its volumes, without regard to the test scans.
"""

from __future__ import annotations

import re
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wfdm.config.reads import reads
from wfdm.errors import UserError
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans, Shard, Shards, Splits, Threads, Volumes
from wfdm.stages.inputs import device, models_behind

if TYPE_CHECKING:
    from wfdm.generators.protocol import Request

Settings = reads("seed", "{generator}", "made=generators.{generator}")


def run(
    settings: Any,
    scans: Scans,
    splits: Splits,
    volumes: Volumes,
    shard: Shard,
    shards: Shards,
    out: Out,
    threads: Threads = 1,
    source: Annotated[
        Path | None,
        "What it is made of: a denoiser's model.safetensors; for decoded noise the latents' "
        "scale.json; of a folder its table.",
    ] = None,
) -> None:
    """Write the shard's volumes, and a table of them."""
    import pandas as pd

    from wfdm.data.paths import sidecar_path
    from wfdm.data.shards import in_shard
    from wfdm.data.table import write_table
    from wfdm.generators.write import write_samples
    from wfdm.provenance.digests import sha256_of

    if source is None:
        raise UserError(f"generators.{settings.generator}: give what it is made of as --source")
    device(threads)
    inputs = [source, scans, splits, volumes]
    implementations = [settings.made.implementation, *_implementations(settings, source)]
    with recorded("sample-test", out, settings, inputs, implementations) as record:
        # By name: another kind of generator is none of this one's code.
        module = import_module(settings.made.implementation)
        generator = module.of_row(settings.generator, settings.made, source)
        wanted = _requests(settings, generator, out.parent, scans, splits, volumes)
        mine = in_shard((request.name for request in wanted.values()), shard, shards)
        requests = {path: each for path, each in sorted(wanted.items()) if each.name in set(mine)}
        what = f"sample {settings.generator}"
        write_samples(generator, requests, settings.seed, record.code, what)
        rows = [(each.name, each.modality, str(path)) for path, each in requests.items()]
        table = pd.DataFrame(rows, columns=["scan_id", "modality", "path"])
        write_table(table.assign(sha256=table["path"].map(sha256_of)), out)
        record.outputs = [out, *requests, *map(sidecar_path, requests)]


def _implementations(settings: Any, source: Path) -> list[str]:
    """Return the code behind the models that the generator is made of."""
    from wfdm.config.compressors import read_architecture
    from wfdm.latents.space import read_space

    if settings.made.kind == "folder":
        return []
    if settings.made.kind == "noise":
        space = read_space(source.parent)
        return [read_architecture(Path(space.compressor)).implementation]
    return models_behind(source.parent)


def _requests(
    settings: Any, generator: Any, out: Path, scans: Path, splits: Path, volumes: Path
) -> dict[Path, Request]:
    """Return the path of every request: one per test scan, or what a folder holds."""
    from wfdm.data.metadata import load_schema
    from wfdm.data.paths import SPACE, key_of, volume_name
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_scans, read_table, rows_of, with_split
    from wfdm.generators.protocol import Request

    if settings.made.kind == "folder":
        return {_path_of_finished(out, each): each for each in generator.requests()}
    table = read_scans(scans).drop(columns="person")
    real = table[table["scan_id"].isin(read_table(volumes)["scan_id"])]
    joined = with_split(real, read_splits(splits))
    found = {}
    for row in rows_of(joined[joined["split"] == "test"]):
        if row["modality"] in generator.modalities:
            where, prefix = key_of(row)
            path = out / where / volume_name(prefix, row["modality"], SPACE, "synthetic")
            metadata = {field: row[field] for field in load_schema().names}
            found[path] = Request(row["scan_id"], row["modality"], metadata)
    return found


def _path_of_finished(out: Path, request: Request) -> Path:
    """Return where a finished volume is written: files of one name in two folders stay apart."""
    from wfdm.data.paths import stem

    unique = sha256(request.name.encode()).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9._+-]", "+", stem(Path(request.name)))
    return out / request.modality / f"{name}_{unique}.nii.gz"
