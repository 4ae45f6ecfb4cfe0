"""The scan table of a study: all its sources, one row per scan, every scan's person."""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wfdm.config.cohort import BidsSource, BrainScapeSource, PhantomSource, Source
from wfdm.data.bids_names import IMAGES
from wfdm.data.findings import Finding, Listing
from wfdm.data.metadata import age_group_of
from wfdm.data.people import Alias, resolve
from wfdm.data.sources import bids, brainscape, phantom
from wfdm.data.sources.bids_tree import walk
from wfdm.data.sources.brainscape_files import described
from wfdm.errors import UserError


@dataclass(frozen=True)
class Index:
    """The scan table, who has several subject ids, the findings, and the files that were read."""

    scans: pd.DataFrame
    people: pd.DataFrame
    findings: list[Finding]
    read: list[Path]


def build(
    sources: Sequence[Source],
    seed: int,
    age_group_from_age: bool,
    raw_root: str,
    aliases: list[Alias],
) -> Index:
    """Return the index of all sources; phantom scans will be written under `raw_root`.

    Raises UserError for a key that two sources give, and for what the sources refuse.
    """
    listings = [_plan(source, seed, raw_root) for source in sources]
    _one_folder_each(listings)
    scans = pd.concat([listing.scans for listing in listings], ignore_index=True)
    repeated = scans.loc[scans["scan_id"].duplicated(), "scan_id"]
    if len(repeated):
        raise UserError(
            f"duplicate scan_id: {repeated.iloc[0]} comes from two sources: give one of them "
            "another 'dataset' label"
        )
    if age_group_from_age:
        derived = scans["age"].map(age_group_of)
        scans["age_group"] = scans["age_group"].where(scans["age_group"] != "", derived)
    scans, people, notes = resolve(scans, aliases)
    findings = [finding for listing in listings for finding in listing.findings]
    read = [path for listing in listings for path in listing.read]
    return Index(scans, people, [*findings, *notes], read)


def _one_folder_each(listings: Sequence[Listing]) -> None:
    """Refuse one dataset label for two folders: people of one id would become one person."""
    known: dict[str, Path] = {}
    for listing in listings:
        for label, root in listing.roots.items():
            other = known.setdefault(label.lower(), root)
            if other != root:
                raise UserError(
                    f"sources: {other} and {root} both make the dataset label '{label}': give one "
                    "of them another 'dataset' label"
                )


def _plan(source: Source, seed: int, raw_root: str) -> Listing:
    if isinstance(source, PhantomSource):
        return Listing(phantom.plan(source, seed, raw_root))
    if isinstance(source, BrainScapeSource):
        return brainscape.plan(source)
    return bids.plan(source)


def files_digest(source: Source) -> str:
    """Return a digest of what a source's files are: their names, and of tables sizes and times.

    The workflow keeps it among the parameters of the index, so that new data is noticed. What is in
    an image concerns its session alone, not the index. Of BrainScape these are the files that
    describe its volumes, not the volumes: its tools rewrite them when volumes come or go.
    Phantom sources have no files: the digest is empty.
    """
    digest = hashlib.sha256()
    for path in _watched(source):
        line = str(path)
        if not path.name.endswith(IMAGES):
            line += _stamp(path)
        digest.update(f"{line}\n".encode(errors="surrogateescape"))
    return "" if isinstance(source, PhantomSource) else digest.hexdigest()


def _stamp(path: Path) -> str:
    """Return size and time of a file; "" where it cannot be had, as of a link to nowhere."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"\0{status.st_size}\0{status.st_mtime_ns}"


def _watched(source: Source) -> Iterable[Path]:
    if isinstance(source, BidsSource):
        files = (entry.path for entry in walk(Path(source.path).expanduser()))
        given = [source.participants] if source.participants else []
        tables = [path.with_suffix(end) for path in map(Path, given) for end in (".tsv", ".json")]
        return itertools.chain(files, tables)
    return described(Path(source.path)) if isinstance(source, BrainScapeSource) else ()
