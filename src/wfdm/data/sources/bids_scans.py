"""Which files of a BIDS session are which scan: spaces, runs, and two files that claim one key."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wfdm.data.bids_names import Name, natural
from wfdm.errors import UserError

_NO_VARIANT = ("sub", "ses", "run", "ce", "desc", "space")


@dataclass(frozen=True)
class Candidate:
    """A file that can be used: its parsed name, modality and state.

    `run` is the number that it gets in keys, from 1.
    """

    path: Path
    name: Name
    modality: str
    run: int = 0

    @property
    def own(self) -> int:
        """Return the number of the run that the file's name says; 1 where it says none."""
        return int(self.name.entities.get("run", "1"))

    @property
    def variant(self) -> tuple[str, ...]:
        """Return what tells it from other scans of its modality and run: acq, rec, the suffix."""
        entities = self.name.entities.items()
        told = (f"{key}-{label}" for key, label in entities if key not in _NO_VARIANT)
        return (*told, self.name.suffix)


def in_one_space(
    files: Sequence[Candidate], preferred: str
) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Return one file of each scan, where derivatives hold it in several spaces; and the others.

    Args:
        files: of one session.
        preferred: label of the space that is taken where it is there; "" is the scanner's own.

    Returns:
        What is taken, and (file, reason) of what is not.
    """
    grouped: dict[tuple[object, ...], dict[str, Candidate]] = defaultdict(dict)
    for file in files:
        space = file.name.entities.get("space", "")
        key = (file.modality, file.own, file.variant, file.name.extension)
        if space in grouped[key]:
            raise _twice(grouped[key][space], file)
        grouped[key][space] = file
    taken, left = [], []
    for spaces in grouped.values():
        chosen = preferred if preferred in spaces else next(iter(spaces))
        if chosen != preferred and len(spaces) > 1:
            told = ", ".join(f"space-{space}" if space else "none" for space in spaces)
            reason = f"one scan lies here in several spaces ({told}): choose one by 'include'"
            left += [(file, reason) for file in spaces.values()]
            continue
        taken.append(spaces.pop(chosen))
        reason = f"{taken[-1].path.name} is the same scan, and is used"
        left += [(file, reason) for file in spaces.values()]
    return taken, left


def numbered(files: Sequence[Candidate]) -> tuple[list[Candidate], list[str]]:
    """Return the scans of one session, each with the number of its run; and notes.

    A scan's key carries the number that its name says, so that no other file can change it. Where
    scans of one modality and number differ in another entity (acq, rec), the first in natural
    order has it, and the others get numbers that no file of the session says: one for each
    variant, so that the contrasts of a variant stay together.

    Raises:
        UserError: two files claim one scan: they differ in nothing.
    """
    claimed: dict[tuple[str, int], Candidate] = {}
    given: dict[tuple[tuple[str, ...], int], int] = {}
    last = max((file.own for file in files), default=0)
    result, notes = [], []
    for file in sorted(files, key=lambda each: natural("_".join(each.variant[:-1]))):
        first = claimed.setdefault((file.modality, file.own), file)
        if first is file:
            result.append(replace(file, run=file.own))
            continue
        variant = (file.variant[:-1] or file.variant, file.own)
        if first.variant == file.variant:
            raise _twice(first, file)
        if variant not in given:
            last += 1
            given[variant] = last
        run = given[variant]
        if (other := claimed.setdefault((file.modality, run), file)) is not file:
            raise _twice(other, file)
        result.append(replace(file, run=run))
        notes.append(
            f"{file.path.name} is run {run} here: {first.path.name} is a {file.modality} of the "
            "session too; to use one alone, say 'exclude' in the source"
        )
    return result, notes


def _twice(first: Candidate, second: Candidate) -> UserError:
    return UserError(
        f"duplicate scan_id: {first.path} and {second.path} claim the same scan: remove one"
    )
