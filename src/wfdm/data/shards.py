"""Shards: the parts that the work on many sessions or scans is cut into, one job each.

A shard works through its items, keeps what each gave, and goes on where it was cut off.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from wfdm.atomic import named, write_text
from wfdm.errors import UserError
from wfdm.log import progress


def in_shard(items: Iterable[str], shard: int, shards: int) -> list[str]:
    """Return the items of one shard, sorted: each belongs where the hash of its name says.

    So an item that comes or goes moves no other one to another shard.

    Raises:
        UserError: there is no such shard.
    """
    if not 0 <= shard < shards:
        raise UserError(f"shard {shard}: there are {shards}, counted from 0")
    return sorted(item for item in items if shard_of(item, shards) == shard)


def shard_of(item: str, shards: int) -> int:
    """Return the number of the shard that an item belongs to."""
    return int.from_bytes(hashlib.sha256(item.encode()).digest()[:8], "big") % shards


def shard_name(shard: int, shards: int) -> str:
    """Return the name of one shard's files without suffix, e.g. shard-0007-of-0064."""
    return f"shard-{shard:04d}-of-{shards:04d}"


def shard_path(folder: Path, shard: int, shards: int, suffix: str) -> Path:
    """Return the path of one shard's file, e.g. FOLDER/shard-0007-of-0064.npy."""
    return folder / f"{shard_name(shard, shards)}{suffix}"


def each_once(
    items: Iterable[str], work: Callable[[str], Any], out: Path, identity: str, what: str
) -> Iterator[tuple[str, Any]]:
    """Yield (item, result) for every item; what a killed run had done is not done again.

    Results are kept beside `out`, a JSON line each, until the last one has been taken.

    Args:
        items: names, in the order of the results.
        work: from a name to a result that JSON can hold.
        out: the file that the results will end in.
        identity: of settings, inputs and code; results of another one are not used.
        what: name of the work, for the progress bar.
    """
    names, kept = list(items), _kept(out)
    done = _read(kept, identity)
    kept.parent.mkdir(parents=True, exist_ok=True)
    lines = [identity, *([name, result] for name, result in done.items())]
    write_text(kept, "".join(f"{json.dumps(line)}\n" for line in lines))
    with named(out), open(kept, "a", encoding="utf-8") as stream:
        for name in progress(names, what, len(names)):
            if name not in done:
                done[name] = work(name)
                stream.write(json.dumps([name, done[name]]) + "\n")
                stream.flush()
            yield name, done[name]
    forget(out)


def forget(out: Path) -> None:
    """Drop what `each_once` kept beside `out`."""
    _kept(out).unlink(missing_ok=True)


def _kept(out: Path) -> Path:
    return out.with_name(f".partial-{out.name}.jsonl")


def _read(path: Path, identity: str) -> dict[str, Any]:
    """Return the results kept under `identity`; a last line that was cut off is left out."""
    if not path.is_file():
        return {}
    first, *lines = path.read_text(encoding="utf-8").split("\n")
    if first != json.dumps(identity):
        return {}
    return dict(json.loads(line) for line in lines[:-1] if line)
