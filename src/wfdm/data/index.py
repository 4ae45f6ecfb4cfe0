"""The scan table of a study: all its sources, one row per scan."""

import hashlib
from pathlib import Path

import pandas as pd

from wfdm.config.data import BidsSource, PhantomSource, Source
from wfdm.config.stages import IndexStage
from wfdm.data.sources import bids, phantom
from wfdm.errors import UserError


def build(stage: IndexStage, raw_root: str) -> pd.DataFrame:
    """Return the scan table of all sources; phantom scans will be written under `raw_root`.

    Raises UserError for a key that two sources give, and whatever the sources refuse.
    """
    tables = [_plan(source, stage.seed, raw_root) for source in stage.sources]
    scans = pd.concat(tables, ignore_index=True)
    repeated = scans.loc[scans["scan_id"].duplicated(), "scan_id"]
    if len(repeated):
        raise UserError(
            f"duplicate scan_id: {repeated.iloc[0]} comes from two sources: give one of them "
            "another 'dataset' label"
        )
    return scans


def _plan(source: Source, seed: int, raw_root: str) -> pd.DataFrame:
    if isinstance(source, PhantomSource):
        return phantom.plan(source, seed, raw_root)
    return bids.plan(source)


def listing(source: Source) -> str:
    """Return a digest of what lies in a source's folder: names, sizes and times of its files.

    The workflow keeps it among the parameters of the index, so that new data is noticed.
    Phantom sources have no folder: the digest is empty.
    """
    if not isinstance(source, BidsSource):
        return ""
    digest = hashlib.sha256()
    for path in sorted(Path(source.path).glob("**/*")):
        if path.is_file():
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
