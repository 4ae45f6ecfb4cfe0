"""The scan table of a study: all its sources, one row per scan, every scan's person."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wfdm.config.cohort import BidsSource, BrainScapeSource, PhantomSource, Source
from wfdm.data.findings import Finding, Listing
from wfdm.data.metadata import age_group_of
from wfdm.data.people import Alias, resolve
from wfdm.data.sources import bids, brainscape, phantom
from wfdm.data.sources.brainscape_files import described
from wfdm.errors import UserError

IMAGES = (".nii", ".nii.gz")


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
            status = path.stat()
            line += f"\0{status.st_size}\0{status.st_mtime_ns}"
        digest.update(f"{line}\n".encode())
    return "" if isinstance(source, PhantomSource) else digest.hexdigest()


def _watched(source: Source) -> Iterable[Path]:
    if isinstance(source, BidsSource):
        return (path for path in sorted(Path(source.path).glob("**/*")) if path.is_file())
    return described(Path(source.path)) if isinstance(source, BrainScapeSource) else ()
