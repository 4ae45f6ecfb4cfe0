"""What the raw scans were, by sha256: the manifest of a data snapshot."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from wfdm.data.table import read_table, rows_of
from wfdm.errors import UserError
from wfdm.provenance.digests import sha256_of

COLUMNS = ("scan_id", "path", "bytes", "sha256")


def build(scans: pd.DataFrame) -> pd.DataFrame:
    """Return scan_id, path, bytes and sha256 of every raw scan.

    Raises:
        UserError: when a scan of the table is not there.
    """
    rows = []
    for scan_id, name in zip(scans["scan_id"], scans["path"], strict=True):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"{scan_id}: {path} is missing: restore it, or make the index again")
        rows.append((scan_id, name, path.stat().st_size, sha256_of(path)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_manifest(path: Path | str) -> pd.DataFrame:
    """Read a manifest, every cell as text.

    Raises:
        UserError: it cannot be read, or is no manifest.
    """
    table = read_table(path)
    if lacking := [name for name in COLUMNS if name not in table]:
        raise UserError(f"{path}: has no column '{lacking[0]}'; is it a manifest?")
    return table


def changes(manifest: pd.DataFrame, scans: pd.DataFrame | None = None) -> Iterator[str]:
    """Yield a line for each raw scan that is not as the manifest says.

    A file of another size is changed; only files of the same size are hashed.

    Args:
        manifest: as `read_manifest` returns it.
        scans: the scans that the sources have now (scan_id, path), to find new ones as well.
    """
    for row in rows_of(manifest):
        if told := _change(row):
            yield told
    if scans is not None:
        known = set(manifest["path"])
        for scan_id, path in zip(scans["scan_id"], scans["path"], strict=True):
            if path not in known:
                yield f"new: {path} ({scan_id})"


def _change(row: dict[str, str]) -> str:
    path, named = Path(row["path"]), f"{row['path']} ({row['scan_id']})"
    if not path.is_file():
        return f"missing: {named}"
    size = path.stat().st_size
    if str(size) != row["bytes"]:
        return f"changed: {named}: {size} bytes, not {row['bytes']}"
    digest = sha256_of(path)
    if digest != row["sha256"]:
        return f"changed: {named}: sha256 {digest[:12]}, not {row['sha256'][:12]}"
    return ""
