"""Who is the same person: subjects joined by an alias table of rules and ids with evidence."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wfdm.data.findings import Finding
from wfdm.data.paths import label
from wfdm.data.tsv import read_tsv
from wfdm.errors import UserError

COLUMNS = ("datasets", "pattern", "ids", "evidence", "source")


@dataclass(frozen=True)
class Alias:
    """One row of the alias table.

    Either a rule: subjects of `datasets` whose label matches `pattern` and whose captured text
    agrees are one person; or ids: these DATASET/SUBJECT keys are one person.
    """

    datasets: frozenset[str]
    pattern: re.Pattern[str] | None
    ids: tuple[str, ...]
    evidence: str

    def name_of(self, key: str) -> str | None:
        """Return what the rule calls the person of a subject; None where it says nothing."""
        dataset, _, subject = key.partition("/")
        if self.pattern is None or dataset not in self.datasets:
            return None
        found = self.pattern.fullmatch(subject)
        return found.group(1).lower() if found else None


def read_aliases(path: Path | str) -> list[Alias]:
    """Read an alias table (tab separated: datasets, pattern, ids, evidence, source).

    Raises UserError, naming the line, for a row that is neither a rule nor ids, a pattern that
    cannot be compiled or has not one group, a malformed id, or no evidence or source.
    """
    table = read_tsv(Path(path))
    if table.columns != COLUMNS:
        raise UserError(f"{path}: columns must be {', '.join(COLUMNS)}")
    return [_alias(row.cells, f"{path}, line {row.line}") for row in table.rows]


def _alias(row: dict[str, str], where: str) -> Alias:
    datasets, ids = frozenset(row["datasets"].split()), tuple(row["ids"].split())
    if not row["evidence"].strip() or not row["source"].strip():
        raise UserError(f"{where}: an alias needs its evidence and its source")
    rule, listed = bool(datasets and row["pattern"]), len(ids) > 1
    if rule == listed or (listed and (datasets or row["pattern"])):
        raise UserError(f"{where}: give datasets and a pattern, or two ids or more, not both")
    if bad := next((key for key in ids if not re.fullmatch(r"[^/]+/[^/]+", key)), None):
        raise UserError(f"{where}: id '{bad}' is not DATASET/SUBJECT")
    keys = tuple("{}/{}".format(key.split("/")[0], label(key.split("/")[1])) for key in ids)
    return Alias(
        datasets, _compiled(row["pattern"], where) if rule else None, keys, row["evidence"]
    )


def _compiled(pattern: str, where: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise UserError(f"{where}: pattern '{pattern}' cannot be read: {error}") from error
    if compiled.groups != 1:
        raise UserError(f"{where}: pattern '{pattern}' needs one group, the person's name")
    return compiled


def resolve(
    scans: pd.DataFrame, aliases: list[Alias]
) -> tuple[pd.DataFrame, pd.DataFrame, list[Finding]]:
    """Give every scan its person: the connected part of the graph of subjects and aliases.

    Subjects are nodes; an edge joins a subject with the person that its own source names, with
    the same key in other case, and with what an alias says. A person is called by the smallest
    key among the subjects that are there, so neither order nor absent aliases change a name.

    Args:
        scans: scan table; `person` as the source gives it.
        aliases: rows of `read_aliases`.

    Returns:
        The scans with their persons; the table person, dataset, subject, evidence of persons
        with more than one subject; a note for each alias that joins no subjects.
    """
    from scipy.cluster.hierarchy import DisjointSet  # here: planning need not import scipy

    keys = scans["dataset"] + "/" + scans["subject"]
    named = pd.DataFrame({"key": keys, "person": scans["person"]}).drop_duplicates()
    graph, evidence, notes = DisjointSet(), defaultdict(set), []
    for key, person in zip(named["key"], named["person"], strict=True):
        _join(graph, key.lower(), person.lower())
        if key.lower() != person.lower():
            evidence[key.lower()].add("the list of participants names the person")
    nodes = sorted({*named["key"], *named["person"]})
    present = {key.lower() for key in nodes}
    for number, alias in enumerate(aliases):
        members = _members(alias, nodes, number)
        for node, name in members:
            _join(graph, node.lower(), name)
            evidence[node.lower()].add(alias.evidence)
        if not _joins(members, present) and alias.datasets <= set(scans["dataset"]):
            notes.append(_unused(alias))
    persons = _named_persons(graph, sorted(set(named["key"])))
    return scans.assign(person=keys.map(persons)), _shared(persons, evidence), notes


def _join(graph, first: str, second: str) -> None:
    graph.add(first)
    graph.add(second)
    graph.merge(first, second)


def _members(alias: Alias, nodes: list[str], number: int) -> list[tuple[str, str]]:
    """Return (subject, name of its person in this alias); names cannot be keys of subjects."""
    if alias.pattern is None:
        return [(key, f"\0{number}") for key in alias.ids]
    found = [(node, alias.name_of(node)) for node in nodes]
    return [(node, f"\0{number}\0{name}") for node, name in found if name is not None]


def _joins(members: list[tuple[str, str]], present: set[str]) -> bool:
    """Return whether two subjects of the study get one name."""
    names = [name for node, name in members if node.lower() in present]
    return len(set(names)) < len(names)


def _unused(alias: Alias) -> Finding:
    what = alias.pattern.pattern if alias.pattern else " ".join(alias.ids)
    where = "+".join(sorted(alias.datasets or {key.split("/")[0] for key in alias.ids}))
    return Finding("note", where, f"alias '{what}' joins no two subjects of this study")


def _named_persons(graph, keys: list[str]) -> dict[str, str]:
    """Return {subject: the smallest subject of its part}; `keys` are sorted."""
    first: dict[str, str] = {}
    return {key: first.setdefault(graph[key.lower()], key) for key in keys}


def _shared(persons: dict[str, str], evidence: dict[str, set[str]]) -> pd.DataFrame:
    members: dict[str, list[str]] = defaultdict(list)
    for key, person in persons.items():
        members[person].append(key)
    rows = [
        (
            person,
            *key.split("/"),
            "; ".join(sorted(evidence[key.lower()])) or "the same id in another case",
        )
        for person, keys in sorted(members.items())
        if len(keys) > 1
        for key in keys
    ]
    return pd.DataFrame(rows, columns=["person", "dataset", "subject", "evidence"])
