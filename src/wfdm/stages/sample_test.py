"""Make one synthetic scan for every test scan of a shard, with its modality and metadata.

One sample per real test scan, as the paper's evaluation has it (2.5.7). A volume that exists
already, with exactly the sidecar that it would get, is kept. A folder of finished volumes gives all
its volumes, without regard to the test scans. References are real scans or made of them: training
scans are only listed.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wfdm.config.reads import reads
from wfdm.errors import UserError
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans, Shard, Shards, Splits, Threads, Volumes
from wfdm.stages.inputs import architecture_of, device, models_behind, verified

if TYPE_CHECKING:
    from wfdm.generators.protocol import Request

Settings = reads(
    "seed", "{generator}", "volume", "preprocess.spacing", "made=generators.{generator}"
)
WORDS = {"reconstruction": "reconstruction", "mean": "mean"}
"""what is made, as file names say it; of every other kind it is synthetic"""


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
        "What it is made of: a denoiser's or a GAN's model.safetensors; for decoded noise the "
        "latents' scale.json; of a folder its table; of reconstructions the compressor's "
        "model.safetensors; of the mean the mean volumes; of real scans the table of volumes; of "
        "a published system its weights.",
    ] = None,
    training: Annotated[
        int | None,
        "Ask for so many training scans of each modality, not for the test scans; 0: as many as "
        "there are of these.",
    ] = None,
) -> None:
    """Write the shard's volumes, and a table of them."""
    import pandas as pd

    from wfdm.config.baselines import PublishedSystem
    from wfdm.data.paths import sidecar_path
    from wfdm.data.table import write_table
    from wfdm.data.volumes import UNIT
    from wfdm.generators.write import write_samples
    from wfdm.provenance.digests import sha256_of

    if source is None:
        raise UserError(f"generators.{settings.generator}: give what it is made of as --source")
    device(threads)
    published = isinstance(settings.made, PublishedSystem)
    if published:
        verified([settings.made.weights], [source])
    inputs = [source, scans, splits, volumes]
    implementations = [settings.made.implementation, *_implementations(settings, source)]
    with recorded("sample-test", out, settings, inputs, implementations) as record:
        # By name: another kind of generator is none of this one's code.
        module = import_module(settings.made.implementation)
        kind, requests = settings.made.kind, {}
        if kind == "real":
            rows = _real(settings, volumes, splits, shard, shards)
        else:
            # References and published systems are told the study's grid; the others know it.
            told = kind in WORDS or published
            grid = (settings.volume, settings.spacing) if told else ()
            generator = module.of_row(settings.generator, settings.made, source, *grid)
            asked = (scans, splits, volumes, training)
            wanted = _requests(settings, generator, out.parent, *asked)
            mine = _of_shard(wanted, shard, shards)
            files = {path: _file(kind, out, path, each) for path, each in mine.items()}
            requests = {files[path]: each for path, each in mine.items()}
            what = f"sample {settings.generator}"
            write_samples(generator, requests, settings.seed, record.code, what)
            rows = [(each.name, each.modality, str(files[path])) for path, each in mine.items()]
        table = pd.DataFrame(rows, columns=["scan_id", "modality", "path"])
        table["sha256"] = table["path"].map(cache(sha256_of))
        # A published system has an intensity scale of its own, as a scanner has: as real scans'.
        table["range"] = "" if kind in ("real", "folder") or published else UNIT
        write_table(table, out)
        record.outputs = [out, *requests, *map(sidecar_path, requests)]


def _of_shard(wanted: dict[Path, Request], shard: int, shards: int) -> dict[Path, Request]:
    """Return the requests of one shard, in the order of their paths."""
    from wfdm.data.shards import in_shard

    mine = set(in_shard((request.name for request in wanted.values()), shard, shards))
    return {path: each for path, each in sorted(wanted.items()) if each.name in mine}


def _file(kind: str, out: Path, path: Path, request: Request) -> Path:
    """Return where a volume is written: the mean of a modality once in a shard, for all rows."""
    from wfdm.data.paths import SPACE, volume_name

    if kind != "mean":
        return path
    name = volume_name("sub-mean", request.modality, SPACE, WORDS[kind])
    return out.with_suffix("") / name


def _real(
    settings: Any, volumes: Path, splits: Path, shard: int, shards: int
) -> list[tuple[str, str, str]]:
    """Return scan_id, modality and path of one shard of the training scans that were drawn."""
    from wfdm.generators.references import draw_real
    from wfdm.stages.selection import of_shard, split_volumes, test_scans

    table = split_volumes(volumes, splits)
    wanted = Counter(test_scans(table, splits)["modality"])
    training = table[table["split"] == "train"]
    drawn = draw_real(training, wanted, settings.seed, settings.generator)
    mine = of_shard(drawn, shard, shards)
    return list(zip(mine["scan_id"], mine["modality"], mine["path"], strict=True))


def _implementations(settings: Any, source: Path) -> list[str]:
    """Return the code behind the models that the generator is made of."""
    from wfdm.config.compressors import read_architecture
    from wfdm.latents.space import read_space

    if settings.made.kind not in ("diffusion", "noise", "reconstruction"):
        return []
    if settings.made.kind == "reconstruction":
        return [architecture_of(source)]
    if settings.made.kind == "noise":
        space = read_space(source.parent)
        return [read_architecture(Path(space.compressor)).implementation]
    return models_behind(source.parent)


def _requests(
    settings: Any,
    generator: Any,
    out: Path,
    scans: Path,
    splits: Path,
    volumes: Path,
    training: int | None,
) -> dict[Path, Request]:
    """Return the path of every request: one per scan that is asked for, or what a folder holds."""
    from wfdm.data.metadata import load_schema
    from wfdm.data.paths import SPACE, key_of, volume_name
    from wfdm.data.split_table import encoded_scans
    from wfdm.data.table import read_table, rows_of
    from wfdm.generators.protocol import Request
    from wfdm.stages.selection import test_scans, training_scans

    if settings.made.kind == "folder":
        return {_path_of_finished(out, each): each for each in generator.requests()}
    paths = read_table(volumes).set_index("scan_id")["path"].to_dict()
    word = WORDS.get(settings.made.kind, "synthetic")
    joined = encoded_scans(scans, splits, volumes)
    found = {}
    asked = test_scans(joined, splits)
    if training is not None:
        asked = training_scans(joined, asked, training, settings.seed, settings.generator)
    for row in rows_of(asked):
        if row["modality"] in generator.modalities:
            where, prefix = key_of(row)
            path = out / where / volume_name(prefix, row["modality"], SPACE, word)
            metadata = {field: row[field] for field in load_schema().names}
            scan = Path(paths[row["scan_id"]])
            found[path] = Request(row["scan_id"], row["modality"], metadata, source=scan)
    return found


def _path_of_finished(out: Path, request: Request) -> Path:
    """Return where a finished volume is written: files of one name in two folders stay apart."""
    from wfdm.data.paths import stem

    unique = sha256(request.name.encode()).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9._+-]", "+", stem(Path(request.name)))
    return out / request.modality / f"{name}_{unique}.nii.gz"
