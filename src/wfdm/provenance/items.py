"""Records of single items in a job that works through many: what is still true is kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wfdm.errors import UserError
from wfdm.provenance.digests import digests, sha256_of
from wfdm.provenance.records import Began, read, write


@dataclass(frozen=True)
class Basis:
    """What an item is made from: two items with the same basis are the same.

    Attributes:
        settings: as plain values.
        code: fingerprint of what its numbers depend on.
        inputs: path to sha256.
    """

    settings: Mapping[str, Any]
    code: str
    inputs: Mapping[str, str]
    began: Began = field(default_factory=Began, compare=False)


def is_true(record: Path, basis: Basis, outputs: Iterable[Path] | None = None) -> bool:
    """Return whether an item was made from `basis` and is all there, unchanged.

    Every output is read and hashed: a job that was killed may have replaced some of them.

    Args:
        record: the item's record, which may be missing.
        basis: what the item would be made from now.
        outputs: what it has to consist of; by default what the record lists.
    """
    content = _content(record)
    made = {"settings": basis.settings, "code": basis.code, "inputs": basis.inputs}
    if any(content.get(name) != value for name, value in made.items()):
        return False
    listed: Mapping[str, str] = content["outputs"]
    if outputs is not None and set(listed) != set(map(str, outputs)):
        return False
    return all(Path(path).is_file() and sha256_of(path) == sha for path, sha in listed.items())


def write_record(
    record: Path, stage: str, basis: Basis, outputs: Iterable[Path], results: Mapping[str, Any]
) -> None:
    """Write an item's record; outputs of an earlier one that are no longer made are removed."""
    before, made = _content(record).get("outputs", {}), digests(outputs)
    write(record, stage, made, basis.inputs, basis.settings, basis.code, results, basis.began)
    for stale in map(Path, set(before) - set(made)):
        if stale.parent == record.parent:
            stale.unlink(missing_ok=True)


def _content(record: Path) -> Mapping[str, Any]:
    """Return what a record says; nothing where it is missing or was cut short."""
    try:
        return read(record)
    except (FileNotFoundError, UserError):
        return {}
