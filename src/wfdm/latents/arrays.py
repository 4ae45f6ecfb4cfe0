"""The array of one shard, a row an item, in half precision: kept as it is made, and mapped."""

import io
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wfdm.atomic import atomic_path, named
from wfdm.data.shards import each_once, forget
from wfdm.errors import UserError

Work = Callable[[list[str]], np.ndarray]


def fill(
    path: Path, items: Sequence[str], work: Work, identity: str, what: str, batch: int = 1
) -> None:
    """Write the array of some items to `path`, float16 (n, ...), in their order.

    What a killed run has made under the same `identity` is kept.

    Args:
        path: a .npy file.
        items: names, each once.
        work: from the names of a batch to its rows, float16.
        identity: of settings, inputs and code.
        what: name of the work, for the progress bar.
        batch: items that are worked on together; the last may be fewer.
    """
    partial = path.with_name(f".partial-{path.name}")
    if not partial.is_file():
        forget(path)
    batches = {items[first]: list(items[first : first + batch]) for first in _firsts(items, batch)}
    places = {items[first]: first for first in _firsts(items, batch)}

    def kept(first: str) -> None:
        rows = work(batches[first])
        start = _start(partial, (len(items), *rows.shape[1:]))
        # Not through a map: there a full disk would crash the process, here it is an error.
        with named(path), open(partial, "r+b") as stream:
            stream.seek(start + places[first] * rows[0].nbytes)
            stream.write(rows.tobytes())

    for _ in each_once(batches, kept, path, identity, what):
        pass
    if not items:  # fewer items than shards
        _start(partial, (0,))
    partial.replace(path)


def mapped(path: Path) -> np.ndarray:
    """Map a shard's array. Raises UserError where it is missing or damaged."""
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{path}: missing, cut short or damaged ({error}): remove it, and the tables beside "
            "it, and run again"
        ) from None


def _firsts(items: Sequence[str], batch: int) -> range:
    return range(0, len(items), batch)


def _start(path: Path, shape: tuple[int, ...]) -> int:
    """Return where the numbers of the shard's array begin; it is made, sparse, by the first one."""
    header = io.BytesIO()
    about = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, about)
    start = header.tell()
    whole = start + 2 * math.prod(shape)
    if not path.is_file() or path.stat().st_size != whole:
        with atomic_path(path) as temporary:
            temporary.write_bytes(header.getvalue())
            os.truncate(temporary, whole)
    return start
