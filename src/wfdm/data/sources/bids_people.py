"""What a BIDS dataset records of its people: participants.tsv, sessions.tsv and their codebooks."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wfdm.config.cohort import BidsSource
from wfdm.data.codebook import Codebook, read_codebook
from wfdm.data.findings import Finding
from wfdm.data.participants import How, Participants, read_participants, unmatched
from wfdm.errors import UserError
from wfdm.log import log


@dataclass(frozen=True)
class People:
    """What is recorded, the files that say so, and what was found on the way."""

    recorded: Participants
    read: list[Path] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def of(self, subject: str, session: str) -> dict[str, str]:
        """Return the fields of a subject's session that are recorded."""
        return self.recorded.of(subject, session) or {}


def read_people(
    source: BidsSource, dataset: str, folder: Path, subjects: Mapping[str, set[str]]
) -> People:
    """Read the lists of a dataset; ids and folders that do not match are told both ways.

    Args:
        source: where the lists may be named, and what their columns mean.
        dataset: its label.
        folder: that holds its sub-* folders.
        subjects: labels of these folders, each with the labels of its sessions' folders.

    Raises:
        UserError: a list cannot be read or understood, or lacks a column that the source names;
            two folders differ in nothing but case, which neither lists nor all disks tell apart.
    """
    _distinct(folder, "sub-", subjects)
    for subject, sessions in subjects.items():
        _distinct(folder / f"sub-{subject}", "ses-", sessions)
    people = People(_participants(source, dataset, folder))
    found = people.recorded
    people.read.extend(_tables(source, folder))
    table = _list_of(source, folder)
    if table is None:
        told = "there is no participants.tsv: nothing is recorded of its people"
        people.findings.append(Finding("note", dataset, told))
    else:
        notes = list(unmatched(found.listed, subjects, table.name))
        people.findings.extend(Finding("note", dataset, note) for note in notes)
        if found.listed and not found.listed.keys() & {each.lower() for each in subjects}:
            log.warning(f"wfdm: {table}: none of its ids is that of a folder; {notes[0]}")
    _add_sessions(people, source, dataset, folder, subjects)
    for name, asked in source.fields.items():
        if found.columns and asked.column.lower() not in found.columns:
            raise UserError(
                f"sources: fields.{name}: {table or folder} has no column '{asked.column}'; "
                f"there is {', '.join(sorted(found.columns))}"
            )
    people.findings.extend(found.findings)
    return people


def _distinct(folder: Path, key: str, labels: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for label in labels:
        other = seen.setdefault(label.lower(), label)
        if other != label:
            raise UserError(
                f"{folder}: {key}{other} and {key}{label} differ in case alone: rename one"
            )


def _list_of(source: BidsSource, folder: Path) -> Path | None:
    """Return the list of participants, even a link that leads nowhere; None where there is none."""
    if source.participants is not None:
        return Path(source.participants).expanduser()
    path = folder / "participants.tsv"
    return path if os.path.lexists(path) else None


def _codebook(*paths: Path) -> Codebook:
    return read_codebook(path for path in paths if os.path.lexists(path))


def _participants(source: BidsSource, dataset: str, folder: Path) -> Participants:
    path = _list_of(source, folder)
    if path is None:
        return Participants()
    how = How(_codebook(path.with_suffix(".json")), source.fields)
    return read_participants(path, dataset, how)


def _tables(source: BidsSource, folder: Path) -> list[Path]:
    """Return the list of participants and its codebook, those that are there."""
    path = _list_of(source, folder)
    if path is None:
        return []
    return [each for each in (path, path.with_suffix(".json")) if os.path.lexists(each)]


def _add_sessions(
    people: People,
    source: BidsSource,
    dataset: str,
    folder: Path,
    subjects: Mapping[str, set[str]],
) -> None:
    shared = folder / "sessions.json"
    for subject, sessions in subjects.items():
        path = folder / f"sub-{subject}" / f"sub-{subject}_sessions.tsv"
        if not os.path.lexists(path):
            continue
        codebook = _codebook(shared, path.with_suffix(".json"))
        how = How(codebook, source.fields)
        listed = people.recorded.add_sessions(path, dataset, subject, how)
        people.read.extend(each for each in (path, *codebook.read) if each not in people.read)
        told = unmatched({each.lower(): each for each in listed}, sessions, path.name)
        people.findings.extend(Finding("note", dataset, each, subject) for each in told)
