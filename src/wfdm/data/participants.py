"""participants.tsv in all its spellings: recorded metadata by subject and session."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wfdm.config.cohort import FieldSource
from wfdm.data.codebook import Codebook
from wfdm.data.findings import Finding
from wfdm.data.paths import label
from wfdm.data.recorded import Reader, field_named
from wfdm.data.tsv import Table, read_tsv
from wfdm.errors import UserError

# Where a list has two of these columns, the first names the scan folder and the other the person.
ID_COLUMNS = ("mr_id", "participant_id", "id")
SESSION_COLUMNS = ("session_id", "session")


@dataclass
class Participants:
    """Recorded metadata of one dataset, keyed by labels in lower case; "" is any session.

    `person` holds the person's label for each subject whose list names both, `listed` how the list
    spells each id, `columns` the names of all columns that were read, in lower case.
    """

    recorded: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    person: dict[str, str] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)

    def of(self, subject: str, session: str) -> dict[str, str] | None:
        """Return the normalised fields of a subject's session, else of the subject, else None."""
        key = subject.lower()
        return self.recorded.get((key, session.lower()), self.recorded.get((key, "")))

    def add_sessions(self, path: Path, dataset: str, subject: str, how: "How") -> set[str]:
        """Take in a subject's sessions.tsv: what it records goes before what is known of all.

        Returns:
            The labels of the sessions that it lists.

        Raises:
            UserError: as `read_participants`, a session without label, or one that is there twice.
        """
        table = read_tsv(path)
        column = _column(table, SESSION_COLUMNS[:1], path)
        reader = how.reader(table, str(path))
        seen: set[str] = set()
        for row in table.rows:
            session = label(row.cells[column])
            where = f"{path}, line {row.line}: {dataset}/{subject}"
            if not session or session.lower() in seen:
                told = f"session '{session}' is there twice" if session else "no session_id"
                raise UserError(f"{where}: {told}; correct it")
            seen.add(session.lower())
            found, notes = reader.read(row.cells, where)
            self.findings += [Finding("note", dataset, each, subject, session) for each in notes]
            known = self.of(subject, session) or {}
            stated = {name: text for name, text in found.items() if text}
            self.recorded[subject.lower(), session.lower()] = {**found, **known, **stated}
        self.columns |= {name.lower() for name in table.columns}
        return seen


@dataclass(frozen=True)
class How:
    """How the fields of a list are read; see `wfdm.data.recorded.Reader`."""

    codebook: Codebook = field(default_factory=Codebook)
    fields: Mapping[str, FieldSource] = field(default_factory=dict)
    bare_codes: bool = False

    def reader(self, table: Table, where: str) -> Reader:
        """Return what reads the rows of a table."""
        return Reader(table.columns, self.codebook, self.fields, self.bare_codes, where)


def read_participants(path: Path, dataset: str, how: How) -> Participants:
    """Read a participants.tsv.

    Implausible values become "" with a note; of rows that repeat a participant the last counts,
    as in BrainScape, with a note.

    Raises:
        UserError: the table is ragged or unreadable (see `wfdm.data.tsv`), it has no column of
            ids, two columns for one field, a row without id, or a value that cannot be understood,
            with dataset, subject and field.
    """
    table = read_tsv(path)
    lower = {name.lower(): name for name in table.columns}
    first = _column(table, ID_COLUMNS, path)
    ids = [lower[name] for name in ID_COLUMNS if name in lower]
    session_column = next((lower[name] for name in SESSION_COLUMNS if name in lower), None)
    reader = how.reader(table, str(path))
    found = Participants(columns=set(lower))
    for line in table.empty:
        found.findings.append(Finding("note", dataset, f"{path.name}, line {line}: an empty row"))
    for row in table.rows:
        where = f"{path}: {dataset}/{row.cells[first]}"
        subject = label(row.cells[first])
        if not subject:
            raise UserError(f"{path}, line {row.line}: no {first}; complete or remove the row")
        session = label(row.cells[session_column]) if session_column else ""
        key = (subject.lower(), session.lower())
        if key in found.recorded:
            reason = f"{path.name} lists this participant again; the last row counts"
            found.findings.append(Finding("note", dataset, reason, subject, session))
        found.listed[subject.lower()] = row.cells[first]
        found.recorded[key], notes = reader.read(row.cells, where)
        found.findings += [Finding("note", dataset, each, subject) for each in notes]
        if len(ids) > 1 and label(row.cells[ids[1]]):
            found.person[subject.lower()] = label(row.cells[ids[1]])
    return found


def _column(table: Table, names: Collection[str], path: Path) -> str:
    """Return the first column of one of these names."""
    lower = {name.lower(): name for name in table.columns}
    found = next((lower[name] for name in names if name in lower), None)
    if found is None:
        wanted = "participant_id" if "participant_id" in names else next(iter(names))
        hint = "" if len(table.columns) > 1 else ": are its cells separated by tabs?"
        raise UserError(f"{path}: no column {wanted}{hint}")
    return found


def unmatched(listed: Mapping[str, str], folders: Collection[str], table: str) -> Iterator[str]:
    """Yield a line for each id that no folder is named by, and for each folder without a row.

    Args:
        listed: ids, by their label in lower case, as the table spells them.
        folders: labels of the subjects' or sessions' folders.
        table: its file's name.
    """
    here = {folder.lower(): folder for folder in folders}
    alike = {_bare(folder): folder for folder in folders}
    for key in sorted(listed.keys() - here.keys()):
        near = alike.get(_bare(key))
        hint = f"; is it '{near}'? then write it so" if near else ""
        yield f"{table} lists '{listed[key]}', which no folder is named by{hint}"
    for key in sorted(here.keys() - listed.keys()):
        yield f"{table} has no row for '{here[key]}': nothing is recorded of it there"


def _bare(text: str) -> str:
    """Return a label as it is when zeros and signs are lost: sub-001 is 1 to a spreadsheet."""
    return "".join(c for c in text.lower() if c.isalnum()).lstrip("0")


def clean(
    raw: Mapping[str, object], where: str, dataset: str, subject: str, findings: list[Finding]
) -> dict[str, str]:
    """Return the canonical text of each field of a record; what is changed is noted.

    Args:
        raw: key to value, as a record file has them; other keys than the fields' are not read.
        where: names the record, for messages.
        dataset: label of the dataset, for the notes.
        subject: whose record it is.
        findings: to which the notes are added.

    Raises:
        UserError: a value cannot be understood, or two keys are one field.
    """
    cells = {key: "" if value is None else str(value).strip() for key, value in raw.items()}
    named = [key for key in cells if field_named(key)]
    found, notes = Reader(named, Codebook(), {}, True, where).read(cells, where)
    findings += [Finding("note", dataset, each, subject) for each in notes]
    return found
