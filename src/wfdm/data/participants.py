"""participants.tsv in all its spellings: recorded metadata by subject and session."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wfdm.data.findings import Finding
from wfdm.data.metadata import ImplausibleValueError, canonical, load_schema
from wfdm.data.paths import label
from wfdm.data.table import read_table, rows_of
from wfdm.errors import UserError

# Where a list has two of these columns, the first names the scan folder and the other the person.
ID_COLUMNS = ("mr_id", "participant_id", "id")
SESSION_COLUMNS = ("session_id", "session")
FIELD_ALIASES = {"gender": "sex"}


@dataclass
class Participants:
    """Recorded metadata of one dataset, keyed by labels in lower case; "" is any session.

    `person` holds the person's label for each subject whose list names both.
    """

    recorded: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    person: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def of(self, subject: str, session: str) -> dict[str, str] | None:
        """Return the normalised fields of a subject's session, else of the subject, else None."""
        key = subject.lower()
        return self.recorded.get((key, session.lower()), self.recorded.get((key, "")))


def read_participants(path: Path, dataset: str) -> Participants:
    """Read a participants.tsv.

    Implausible values become "" with a note; of rows that repeat a participant the last counts,
    as in BrainScape, with a note.

    Raises:
        UserError: no column of ids, two columns for one field, or a spelling that the schema
            does not know, with dataset, subject and field.
    """
    table = read_table(path)
    lower = {str(name).strip().lower(): str(name) for name in table}
    ids = [lower[name] for name in ID_COLUMNS if name in lower]
    if not ids:
        raise UserError(f"{path}: no column participant_id")
    session_column = next((lower[name] for name in SESSION_COLUMNS if name in lower), None)
    columns = _field_columns(table, path)
    found = Participants()
    for row in rows_of(table):
        subject = label(row[ids[0]])
        session = label(row[session_column]) if session_column else ""
        key = (subject.lower(), session.lower())
        if key in found.recorded:
            reason = f"{path.name} lists this participant again; the last row counts"
            found.findings.append(Finding("note", dataset, reason, subject, session))
        raw = {name: row[column] for name, column in columns.items()}
        where = f"{path}: {dataset}/{row[ids[0]]}"
        found.recorded[key] = clean(raw, where, dataset, subject, found.findings)
        if len(ids) > 1 and label(row[ids[1]]):
            found.person[subject.lower()] = label(row[ids[1]])
    return found


def clean(
    raw: Mapping[str, object], where: str, dataset: str, subject: str, findings: list[Finding]
) -> dict[str, str]:
    """Return the canonical text of each field; an implausible value becomes "" and a note."""
    fields = {}
    for each in load_schema().fields:
        try:
            fields[each.name] = canonical(each, raw.get(each.name), where)
        except ImplausibleValueError:
            limits = "{:g} to {:g}".format(*(each.range or ()))
            reason = f"{each.name} is outside {limits}: taken as not recorded"
            findings.append(Finding("note", dataset, reason, subject))
            fields[each.name] = ""
    return fields


def field_named(column: str) -> str | None:
    """Return the schema's field that a column (or key) of any spelling is, if it is one."""
    by_lower = {name.lower(): name for name in load_schema().names} | FIELD_ALIASES
    return by_lower.get(column.strip().lower())


def _field_columns(table, path: Path) -> dict[str, str]:
    """Return {field: column}."""
    columns: dict[str, str] = {}
    for column in map(str, table):
        name = field_named(column)
        if name in columns:
            raise UserError(f"{path}: columns '{columns[name]}' and '{column}' are both {name}")
        if name:
            columns[name] = column
    return columns
