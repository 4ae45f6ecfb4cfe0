"""Raw BIDS folders: `sub-*/[ses-*/]anat/*` and participants.tsv become rows of the scan table."""

import functools
import re
from collections import defaultdict
from pathlib import Path

import pandas as pd

from wfdm.config.cohort import BidsSource
from wfdm.data.findings import Finding, Listing
from wfdm.data.metadata import load_schema
from wfdm.data.participants import Participants, read_participants
from wfdm.data.paths import scan_id, stem
from wfdm.data.table import columns
from wfdm.errors import UserError

SUFFIXES = {"T1w": "T1w", "T2w": "T2w", "FLAIR": "FLAIR"}


@functools.cache
def anatomical_suffixes() -> frozenset[str]:
    """Return every suffix that BIDS knows in `anat/`, used by this study or not."""
    from bidsschematools.schema import load_schema as load_bids  # 0.3 s; few folders need it

    kinds = load_bids().rules.files.raw.anat.values()
    return frozenset(suffix for kind in kinds for suffix in kind.suffixes)


def plan(source: BidsSource) -> Listing:
    """Return the scan table of a BIDS folder or a folder of BIDS folders.

    Files of other anatomical suffixes are findings, as are implausible metadata values.

    Raises:
        UserError: when the folder is missing or empty, a file's suffix is no known modality, two
            files claim one scan, or participants.tsv holds a value the schema does not know.
    """
    root = Path(source.path)
    if not root.is_dir():
        raise UserError(
            f"sources: {root} is not there: place the raw BIDS data in it (one dataset, or one "
            "folder per dataset), or edit 'sources' in your configuration"
        )
    datasets = _datasets(root, source.dataset)
    if not datasets:
        raise UserError(
            f"sources: {root} holds no sub-* folder, itself or one level down: is it BIDS?"
        )
    listing = Listing(pd.DataFrame())
    rows = [row for name, folder in datasets for row in _dataset_rows(name, folder, listing)]
    return Listing(pd.DataFrame(rows, columns=list(columns())), listing.findings, listing.read)


def _datasets(root: Path, name: str | None) -> list[tuple[str, Path]]:
    if any(root.glob("sub-*")):
        return [(_label(name or root.resolve().name), root)]
    folders = sorted(f for f in root.iterdir() if f.is_dir() and any(f.glob("sub-*")))
    return [(_label(folder.name), folder) for folder in folders]


def _label(name: str) -> str:
    label = re.sub(r"[^A-Za-z0-9]", "", name)
    if not label:
        raise UserError(f"sources: '{name}' holds no letter or digit to name a dataset by")
    return label


def _dataset_rows(dataset: str, folder: Path, listing: Listing) -> list[dict[str, str]]:
    people = _participants(dataset, folder, listing)
    images = sorted(folder.glob("sub-*/anat/*.nii*")) + sorted(
        folder.glob("sub-*/ses-*/anat/*.nii*")
    )
    grouped: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    for image in images:
        entities, suffix = _parse(image)
        if suffix not in SUFFIXES:
            reason = f"suffix {suffix} is not used"
            listing.findings.append(
                Finding("rejected", dataset, reason, entities["sub"], path=str(image))
            )
            continue
        modality = "T1Gd" if suffix == "T1w" and "ce" in entities else SUFFIXES[suffix]
        grouped[entities["sub"], entities.get("ses", ""), modality].append(image)
    return [
        _row(dataset, subject, session, group, modality, image, people)
        for (subject, session, modality), found in sorted(grouped.items())
        for group, image in enumerate(_distinct(found))
    ]


def _parse(image: Path) -> tuple[dict[str, str], str]:
    *pairs, suffix = stem(image).split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    if suffix not in SUFFIXES and suffix not in anatomical_suffixes():
        raise UserError(
            f"{image}: unknown modality '{suffix}': name it T1w, T2w, FLAIR or "
            "ce-gadolinium_T1w as BIDS does, or move it out of anat/"
        )
    if "sub" not in entities:
        raise UserError(f"{image}: no sub- entity in its name")
    return entities, suffix


def _distinct(images: list[Path]) -> list[Path]:
    stems: dict[str, Path] = {}
    for image in images:
        if (name := stem(image)) in stems:
            raise UserError(
                f"duplicate scan_id: {stems[name]} and {image} claim the same scan: remove one"
            )
        stems[name] = image
    return images


def _row(
    dataset: str,
    subject: str,
    session: str,
    group: int,
    modality: str,
    image: Path,
    people: Participants,
) -> dict[str, str]:
    identity = {
        "scan_id": scan_id(dataset, subject, session, group, modality),
        "dataset": dataset,
        "person": f"{dataset}/{subject}",
        "subject": subject,
        "session": session,
        "group": str(group),
        "modality": modality,
        "path": str(image),
        "state": "raw",
    }
    recorded = people.of(subject, session) or {}
    return identity | {name: recorded.get(name, "") for name in load_schema().names}


def _participants(dataset: str, folder: Path, listing: Listing) -> Participants:
    path = folder / "participants.tsv"
    if not path.is_file():
        return Participants()
    found = read_participants(path, dataset)
    listing.findings.extend(found.findings)
    listing.read.append(path)
    return found
