"""BrainScape: dataset.json, or an export of it, becomes rows of the scan table."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wfdm.config.cohort import BrainScapeSource
from wfdm.data.findings import Finding, Listing
from wfdm.data.metadata import load_schema
from wfdm.data.participants import How, Participants, clean, read_participants
from wfdm.data.paths import label, scan_id
from wfdm.data.sources.brainscape_files import Checkout, Entry, find
from wfdm.data.synthetic import refusal
from wfdm.data.table import columns
from wfdm.errors import UserError

# BrainScape's keys; its t1ce is T1Gd, and `seg` is a label map.
MODALITIES = {"t1w": "T1w", "t2w": "T2w", "t1ce": "T1Gd", "t1gd": "T1Gd", "flair": "FLAIR"}
# How each plugin flavour ends the names it writes; identity copies keep the download's stem.
FLAVOURS = {"_norm_bet_{}": "preprocessed", "_raw_skull_{}": "skull", "_{}": "identity"}


@dataclass(frozen=True)
class Session:
    """An entry with its key: labels as in the scan table, and its number among the runs."""

    entry: Entry
    subject: str
    session: str
    run: int


@dataclass(frozen=True)
class Candidate:
    """One scan that an entry lists: its BrainScape key, file (None: not given) and state."""

    key: str
    modality: str
    path: Path | None
    state: str


def plan(source: BrainScapeSource) -> Listing:
    """Return the scan table of a BrainScape checkout or export, with every rejected record.

    A record is rejected when BrainScape's own files or `source.exclude` leave its dataset or
    subject out, when it is no scan of the four modalities, when its volume was not made, is missing
    or empty, and when another record claims the same key.

    Raises:
        UserError: nothing there, a file that cannot be read, a metadata value that the schema
            does not know, or no scan left.
    """
    checkout = find(Path(source.path))
    grouped: dict[str, list[Entry]] = defaultdict(list)
    for entry in checkout.entries():
        grouped[entry.dataset].append(entry)
    listing = Listing(pd.DataFrame(), read=[checkout.record])
    rows: list[dict[str, str]] = []
    for dataset in sorted(grouped):
        rows += _Dataset(source, checkout, dataset, listing).rows(grouped[dataset])
    for dataset in sorted(set(source.exclude) - set(grouped)):
        listing.findings.append(Finding("note", dataset, "'exclude' names it, but it is not here"))
    if not rows:
        reasons = Counter(finding.reason for finding in listing.findings)
        most = f"; most often: {reasons.most_common(1)[0][0]}" if reasons else ""
        raise UserError(f"{checkout.record}: no scan is left{most}")
    scans = pd.DataFrame(rows, columns=list(columns()))
    return Listing(scans, listing.findings, listing.read)


def exported_split(path: Path) -> dict[str, str]:
    """Return {scan_id: split} of an export's JSON file.

    Raises UserError when the file divides nothing.
    """
    checkout = find(path)
    grouped: dict[str, list[Entry]] = defaultdict(list)
    for entry in checkout.entries():
        if not entry.split:
            raise UserError(f"{path}: divides nothing: it has no train, val and test")
        grouped[entry.dataset].append(entry)
    return {
        scan_id(_name(dataset), each.subject, each.session, each.run, modality): each.entry.split
        for dataset, entries in grouped.items()
        for each in _keyed(entries)
        for key in _keys(each.entry)
        if (modality := MODALITIES.get(key.lower()))
    }


def _name(dataset: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", dataset)


def _keyed(entries: Iterable[Entry]) -> Iterator[Session]:
    """Yield the entries in order of their keys, each with its number among its session's runs.

    BrainScape separates the scans of one session by type and group; here these are numbered.
    """
    sessions: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=Entry.order):
        subject, session = (str(entry.content.get(key) or "") for key in ("subject", "session"))
        sessions[label(subject), label(session)].append(entry)
    for (subject, session), members in sorted(sessions.items()):
        runs = sorted({_run_of(entry) for entry in members})
        for entry in members:
            yield Session(entry, subject, session, runs.index(_run_of(entry)))


def _run_of(entry: Entry) -> tuple[str, int]:
    group = str(entry.content.get("group") or 0)
    if not group.isdigit():
        raise UserError(
            f"{entry.dataset}/{entry.content.get('subject')}: group is '{group}', not a number"
        )
    return str(entry.content.get("type") or ""), int(group)


def _keys(entry: Entry) -> list[str]:
    """Return every modality key that an entry mentions."""
    maps = (entry.content.get(name) or {} for name in ("mris", "preprocessed", "download"))
    return sorted({key for each in maps for key in each})


class _Dataset:
    """Turns the entries of one dataset into rows; what it cannot use goes to the findings."""

    def __init__(
        self, source: BrainScapeSource, checkout: Checkout, name: str, listing: Listing
    ) -> None:
        self.source, self.checkout, self.name, self.listing = source, checkout, name, listing
        self.rules = checkout.rules(name)
        self.people = self._participants()
        self.claimed: dict[str, Path] = {}

    def rows(self, entries: list[Entry]) -> Iterator[dict[str, str]]:
        """Yield a row for every scan that can be used."""
        closed = self._why_not()
        for each in _keyed(entries):
            why = closed or self._why_not_subject(each)
            metadata = {} if why else self._metadata(each)
            for key in _keys(each.entry):
                candidate = self._candidate(each, key)
                reason = why or self._refuse(each, candidate)
                if reason:
                    self._reject(each, candidate, reason)
                else:
                    yield self._row(each, candidate) | metadata
            if not _keys(each.entry):
                self._reject(each, Candidate("", "", None, ""), why or "lists no scan")

    def _participants(self) -> Participants:
        if self.checkout.rules_file(self.name).is_file():
            self.listing.read.append(self.checkout.rules_file(self.name))
        path = self.checkout.participants(self.name)
        if path is None or self._why_not():
            return Participants()
        found = read_participants(path, _name(self.name), How(bare_codes=True))
        self.listing.read.append(path)
        self.listing.findings.extend(found.findings)
        return found

    def _why_not(self) -> str:
        if not _name(self.name):
            return "no dataset is named"
        if self.name in self.source.exclude:
            return "dataset left out by 'exclude' in the configuration"
        if not self.rules.included:
            return "includeDataset is false in the dataset's metadata.json"
        return self.checkout.why_not(self.name)

    def _why_not_subject(self, each: Session) -> str:
        if not each.subject:
            return "no subject is named"
        return self.rules.why_not(str(each.entry.content["subject"]))

    def _candidate(self, each: Session, key: str) -> Candidate:
        content, folder = each.entry.content, self.checkout.volumes / self.name
        made = (content.get("preprocessed") or {}).get(key)
        state = _state(made, key) if made else ""
        path = folder / "preprocessed" / made if made else None
        if self.source.images == "raw":
            on_atlas = self.rules.already_preprocessed or state == "identity"
            state = "identity" if on_atlas else "raw"
            fetched = (content.get("download") or {}).get(key)
            path = folder / "Download" / fetched if fetched else None
        return Candidate(key, MODALITIES.get(key.lower(), ""), path, state)

    def _refuse(self, each: Session, scan: Candidate) -> str:
        """Return why a scan cannot be used; "" when it can, and then its key counts as taken."""
        if scan.key.lower() == "seg":
            return "a label map, not a scan"
        if not scan.modality:
            return f"unknown modality '{scan.key}'"
        if scan.path is None:
            return f"lists no {self.source.images} file"
        if _leaves(scan.path, self.checkout.volumes / self.name):
            return "its path leaves the folder of its dataset"
        if not scan.state:
            return "its name is of no known preprocessing: norm_bet, raw_skull or a plain copy"
        try:
            if os.path.getsize(scan.path) == 0:
                return "the file is empty"
        except OSError:
            return "the file is missing"
        if not self.source.synthetic and (told := refusal(scan.path)):
            return told
        identity = self._scan_id(each, scan)
        if identity in self.claimed:
            return f"its key is that of {self.claimed[identity]}"
        self.claimed[identity] = scan.path
        return ""

    def _scan_id(self, each: Session, scan: Candidate) -> str:
        return scan_id(_name(self.name), each.subject, each.session, each.run, scan.modality)

    def _reject(self, each: Session, scan: Candidate, reason: str) -> None:
        self.listing.findings.append(
            Finding(
                "rejected",
                self.name,
                reason,
                str(each.entry.content.get("subject", "")),
                str(each.entry.content.get("session", "")),
                scan.modality or scan.key,
                str(scan.path or ""),
            )
        )

    def _row(self, each: Session, scan: Candidate) -> dict[str, str]:
        person = self.people.person.get(each.subject.lower(), each.subject)
        return {
            "scan_id": self._scan_id(each, scan),
            "dataset": _name(self.name),
            "person": f"{_name(self.name)}/{person}",
            "subject": each.subject,
            "session": each.session,
            "group": str(each.run),
            "modality": scan.modality,
            "path": str(scan.path),
            "state": scan.state,
        }

    def _metadata(self, each: Session) -> dict[str, str]:
        """Return the fields: from participants.tsv, else from the entry's own demographics."""
        listed = self.people.of(each.subject, each.session)
        if listed is None:
            raw = each.entry.content.get("demographics") or {}
            where = f"{self.checkout.record}: {_name(self.name)}/{each.entry.content['subject']}"
            findings = self.listing.findings
            listed = clean(raw, where, _name(self.name), each.subject, findings)
        return {name: listed[name] for name in load_schema().names}


def _leaves(path: Path, folder: Path) -> bool:
    """Whether a path that a record gives leads out of the folder that it counts from."""
    return "\0" in str(path) or not Path(os.path.normpath(path)).is_relative_to(
        os.path.normpath(folder)
    )


def _state(path: str, key: str) -> str:
    """Return the state that a preprocessed volume's name shows; "" for an unknown one."""
    stem = re.sub(r"\.nii(\.gz)?$", "", path)
    endings = ((ending.format(key), state) for ending, state in FLAVOURS.items())
    return next((state for ending, state in endings if stem.endswith(ending)), "")
