"""BIDS folders, raw or derivatives: `sub-*/[ses-*/]anat/*` and the lists of participants.

Every file below the source's folder becomes a row of the scan table or a finding: `_Dataset` sorts
them, and what lies outside of all datasets is a finding too.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from wfdm.config.cohort import BidsSource
from wfdm.data.bids_names import (
    IMAGES,
    LABEL,
    LABEL_MAPS,
    MalformedNameError,
    modality_of,
    parse,
    why_not,
)
from wfdm.data.findings import Finding, Listing, Outcome
from wfdm.data.metadata import load_schema
from wfdm.data.paths import mask_beside, scan_id
from wfdm.data.recorded import check_fields
from wfdm.data.sources.bids_people import read_people
from wfdm.data.sources.bids_scans import Candidate, in_one_space, numbered
from wfdm.data.sources.bids_tree import Dataset, Entry, datasets, walk
from wfdm.data.synthetic import dataset_refusal, read_json, refusal
from wfdm.data.table import columns
from wfdm.errors import UserError
from wfdm.log import log

_TEXT = (".json", ".tsv", ".csv", ".txt", ".md", ".bval", ".bvec", ".tsv.gz")
_ON_ATLAS = ("identity", "preprocessed", "skull")


def plan(source: BidsSource) -> Listing:
    """Return the scan table of a BIDS folder or a folder of BIDS folders.

    Raises:
        UserError: the folder is missing or holds no scan, two folders have one label or two files
            claim one scan, a list of participants cannot be understood (`bids_people`), or the
            source's own settings name what is not there.
    """
    root = Path(source.path).expanduser()
    if not root.is_dir():
        raise UserError(
            f"sources: {root} is not there: place the raw BIDS data in it (one dataset, or one "
            "folder per dataset), or edit 'sources' in your configuration"
        )
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"sources: {root} cannot be read: give this user the right to it")
    check_fields(source.fields)
    found = datasets(root)
    if not found:
        raise UserError(
            f"sources: {root} holds no sub-* folder, itself or one level down: is it BIDS?"
        )
    labels = _labels(found, source)
    listing = Listing(pd.DataFrame())
    rows: list[dict[str, str]] = []
    below: dict[Dataset | None, list[Entry]] = defaultdict(list)
    by_place = {dataset.parts: dataset for dataset in found}
    for entry in walk(root):
        below[_holder(entry, by_place)].append(entry)
    listing.findings.extend(_outside(entry, source) for entry in below[None])
    for dataset in found:
        here = root.joinpath(*dataset.parts)
        listing.roots[labels[dataset]] = here.resolve()
        rows += _Dataset(source, labels[dataset], here, dataset, listing).rows(below[dataset])
    if not rows:
        raise UserError(f"sources: {root}: no scan is left{_most_often(listing.findings)}")
    listing.findings.extend(_unused_patterns(source, [e for each in below.values() for e in each]))
    scans = pd.DataFrame(rows, columns=list(columns()))
    return Listing(scans, listing.findings, listing.read, listing.roots)


def _labels(found: list[Dataset], source: BidsSource) -> dict[Dataset, str]:
    """Return the label of each dataset; no two have one."""
    if source.dataset and len(found) > 1:
        raise UserError(
            f"sources: {source.path} holds {len(found)} datasets, which 'dataset' cannot all name: "
            "leave it out, or give each a source of its own"
        )
    labels: dict[Dataset, str] = {}
    names: dict[str, str] = {}
    for dataset in found:
        name = source.dataset or dataset.name
        label = re.sub(r"[^A-Za-z0-9]", "", name)
        if not label:
            raise UserError(f"sources: '{name}' holds no letter or digit to name a dataset by")
        if label.lower() in names:
            raise UserError(
                f"sources: {source.path}: the folders '{names[label.lower()]}' and '{name}' both "
                f"make the dataset label '{label}': rename one, or give each a source of its own "
                "with a 'dataset' label"
            )
        labels[dataset] = label
        names[label.lower()] = name
    return labels


def _holder(entry: Entry, found: Mapping[tuple[str, ...], Dataset]) -> Dataset | None:
    """Return the dataset that an entry lies in: its sub-* folders are at most two levels down."""
    inner = (found.get(entry.parts[:depth]) for depth in (2, 1, 0))
    return next((dataset for dataset in inner if dataset), None)


def _outside(entry: Entry, source: BidsSource) -> Finding:
    """Return the finding of what lies in no dataset."""
    inner = any(part.startswith("sub-") for part in entry.parts)
    reason = "lies in no dataset: there is no sub-* folder beside it"
    if inner:
        reason = "its dataset lies deeper than one level down: give it a source of its own"
    scan = entry.image or (entry.problem and entry.kind == "file")
    outcome: Outcome = "rejected" if scan else "other"
    return Finding(outcome, "", entry.problem or reason, path=str(entry.path))


def _most_often(findings: list[Finding]) -> str:
    reasons = Counter(each.reason for each in findings if each.outcome == "rejected")
    return f"; most often: {reasons.most_common(1)[0][0]}" if reasons else ""


def _unused_patterns(source: BidsSource, entries: list[Entry]) -> Iterator[Finding]:
    for key in ("include", "exclude"):
        for pattern in getattr(source, key):
            if not any(_matches(entry.parts, [pattern]) for entry in entries):
                yield Finding("note", "", f"'{key}' of {source.path}: '{pattern}' matches nothing")


def _matches(parts: tuple[str, ...], patterns: list[str]) -> bool:
    """Return whether a pattern matches a path, or a folder that it lies in."""
    paths = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(fnmatchcase(path, pattern.rstrip("/")) for path in paths for pattern in patterns)


class _Dataset:
    """Turns what lies in a dataset into rows; what it cannot use goes to the findings."""

    def __init__(
        self, source: BidsSource, label: str, folder: Path, dataset: Dataset, listing: Listing
    ) -> None:
        self.source, self.label, self.folder = source, label, folder
        self.depth, self.listing = len(dataset.parts), listing
        self.about = read_json(folder / "dataset_description.json")

    def rows(self, entries: list[Entry]) -> Iterator[dict[str, str]]:
        """Yield a row for every scan that can be used."""
        people = read_people(self.source, self.label, self.folder, self._sessions(entries))
        self._check_type()
        self.listing.read.extend(people.read)
        self.listing.findings.extend(people.findings)
        candidates: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
        others: list[tuple[Entry, str]] = []
        read = set(people.read)
        for entry in entries:
            reason = self._why_not(entry, read)
            if reason is None:
                found = self._candidate(entry)
                if isinstance(found, Candidate):
                    names = found.name.entities
                    candidates[names["sub"], names.get("ses", "")].append(found)
                    continue
                reason = found
            others.append((entry, reason))
        masks: set[Path] = set()
        for (subject, session), files in sorted(candidates.items()):
            for file in sorted(self._chosen(files), key=lambda each: (each.modality, each.run)):
                masks |= {m for m in [mask_beside(file.path)] if m and self._masked}
                fields = people.of(subject, session)
                yield self._identity(file, subject, session) | fields
        for entry, reason in others:
            if entry.path in masks:
                self._tell("other", entry, "read as the brain mask of a scan")
            elif self._may_be_scan(entry):
                self._tell("rejected", entry, reason)
            else:
                self._tell("other", entry, reason)

    def _check_type(self) -> None:
        """Note where the dataset calls itself derivatives, and the source calls it raw."""
        if self.about.get("DatasetType") == "derivative" and self.source.state == "raw":
            reason = (
                "dataset_description.json says 'derivative', but the source's state is raw: if "
                "only brains are left, say state brain"
            )
            self.listing.findings.append(Finding("note", self.label, reason))
            log.warning(f"wfdm: {self.folder}: {reason}")

    @property
    def _masked(self) -> bool:
        """Return whether a derivative's brain mask says what is brain."""
        return self.source.state == "brain"

    def _sessions(self, entries: list[Entry]) -> dict[str, set[str]]:
        """Return the labels of the subjects' folders, each with those of its sessions."""
        found: dict[str, set[str]] = defaultdict(set)
        for entry in entries:
            first, *more = self._inner(entry)
            named = first.startswith("sub-") and LABEL.fullmatch(first[4:])
            if named and (more or entry.kind == "folder"):
                found[first[4:]] |= {f[4:] for f in more[:1] if f.startswith("ses-")}
        return found

    def _inner(self, entry: Entry) -> tuple[str, ...]:
        return entry.parts[self.depth :]

    def _may_be_scan(self, entry: Entry) -> bool:
        if entry.kind == "folder":
            return "cannot be read" in entry.problem
        name = entry.parts[-1].lower()
        if name.endswith(_TEXT) or name.rpartition("_")[2].partition(".")[0] in LABEL_MAPS:
            return False
        in_anat = len(entry.parts) > 1 and entry.parts[-2] == "anat"
        of_subject = self._inner(entry)[0].startswith("sub-")
        return entry.image or in_anat or (bool(entry.problem) and of_subject)

    def _why_not(self, entry: Entry, read: Container[Path]) -> str | None:
        """Return why an entry is no scan, by where it lies and how it ends; None where it may be.

        Where two reasons hold, the one that helps more is told.
        """
        *folders, name = self._inner(entry)
        if entry.path in read:
            return "read: what is recorded of people"
        if name.startswith("."):
            return entry.problem if entry.kind == "folder" else "a hidden file"
        if entry.kind == "folder":
            return entry.problem
        if not folders:
            return entry.problem or "beside the sub-* folders: no scan"
        subject = folders[0]
        if not subject.startswith("sub-"):
            nested = any(part.startswith("sub-") for part in folders)
            told = "in a dataset within the dataset: give it a source of its own"
            return told if nested else "lies outside of the sub-* folders"
        return self._why_not_named(entry, folders, name)

    def _why_not_named(self, entry: Entry, folders: list[str], name: str) -> str | None:
        lower = name.lower()
        if lower.endswith(_TEXT):
            return entry.problem or "a sidecar or table: no scan"
        if folders[-1] != "anat" or len(folders) > 3:
            return f"lies in {'/'.join(folders)}/, not in anat/ of a subject or session"
        for folder, key in zip(folders[:-1], ("sub-", "ses-"), strict=False):
            if not folder.startswith(key):
                return f"lies in {'/'.join(folders)}/: '{folder}' is no {key} folder"
            if not LABEL.fullmatch(folder[4:]):
                return (
                    f"its folder '{folder}' is no BIDS name: a label holds letters, digits and + "
                    "alone; rename folder and files"
                )
        if not name.endswith(IMAGES):
            return f"its name ends neither in {IMAGES[0]} nor in {IMAGES[1]}: convert or rename it"
        if self.source.include and not _matches(entry.parts, self.source.include):
            return "not named by 'include' in the configuration"
        if _matches(entry.parts, self.source.exclude):
            return "left out by 'exclude' in the configuration"
        return None

    def _candidate(self, entry: Entry) -> Candidate | str:
        """Return what a file in anat/ is by its name, or why it cannot be used."""
        folders = self._inner(entry)[:-2]
        try:
            name = parse(entry.parts[-1])
            if told := _disagreement(name.entities, folders):
                return told
            modality = modality_of(name, self.source.suffixes)
        except MalformedNameError as error:
            return str(error)
        reason = why_not(name, self.source.state, self.source.suffixes) or entry.problem
        if not self.source.synthetic:
            reason = reason or dataset_refusal(self.about) or refusal(entry.path)
        mask = mask_beside(entry.path)
        if not reason and mask and self._masked and not os.access(mask, os.R_OK):
            reason = f"its brain mask {mask.name} is missing or cannot be read: fetch it"
        return reason or Candidate(entry.path, name, modality)

    def _chosen(self, files: list[Candidate]) -> list[Candidate]:
        preferred = "SRI24" if self.source.state in _ON_ATLAS else ""
        taken, left = in_one_space(files, preferred)
        for file, reason in left:
            self.listing.findings.append(self._finding("rejected", reason, file.path, file))
        chosen, notes = numbered(taken)
        entities = files[0].name.entities
        for note in notes:
            subject, session = entities["sub"], entities.get("ses", "")
            self.listing.findings.append(Finding("note", self.label, note, subject, session))
        return chosen

    def _tell(self, outcome: Outcome, entry: Entry, reason: str) -> None:
        self.listing.findings.append(self._finding(outcome, reason, entry.path))

    def _finding(
        self, outcome: Outcome, reason: str, path: Path, file: Candidate | None = None
    ) -> Finding:
        folders = path.relative_to(self.folder).parts[:-1] if path != self.folder else ()
        labels = {part[:4]: part[4:] for part in folders[:2] if part[:4] in ("sub-", "ses-")}
        subject, session = labels.get("sub-", ""), labels.get("ses-", "")
        modality = file.modality if file else ""
        return Finding(outcome, self.label, reason, subject, session, modality, str(path))

    def _identity(self, file: Candidate, subject: str, session: str) -> dict[str, str]:
        row = {
            "scan_id": scan_id(self.label, subject, session, file.run - 1, file.modality),
            "dataset": self.label,
            "person": f"{self.label}/{subject}",
            "subject": subject,
            "session": session,
            "group": str(file.run - 1),
            "modality": file.modality,
            "path": str(file.path),
            "state": self.source.state,
        }
        return row | dict.fromkeys(load_schema().names, "")


def _disagreement(entities: Mapping[str, str], folders: tuple[str, ...]) -> str:
    """Return where a file's name and its folders contradict each other; "" where they agree."""
    for key, folder in zip(("sub", "ses"), (*folders, ""), strict=False):
        named = f"{key}-{entities[key]}" if key in entities else ""
        if named != folder:
            told = f"its name says {named or f'no {key}-'}"
            return f"{told}, but it lies in {folder or f'no {key}- folder'}: move or rename it"
    return ""
