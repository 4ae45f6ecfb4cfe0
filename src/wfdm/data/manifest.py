"""What the raw scans were, by sha256: the manifest of a data snapshot."""

from pathlib import Path

import pandas as pd

from wfdm.errors import UserError
from wfdm.provenance.digests import sha256_of


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
    return pd.DataFrame(rows, columns=["scan_id", "path", "bytes", "sha256"])
