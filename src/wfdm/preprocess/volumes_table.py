"""The table of preprocessed volumes, gathered from the records of all sessions."""

from pathlib import Path

import pandas as pd

from wfdm.data.paths import key_of, session_record
from wfdm.data.table import rows_of
from wfdm.errors import UserError
from wfdm.provenance.records import read


def gather(scans: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Return scan_id, modality, path and sha256 of every scan's preprocessed volume.

    Args:
        scans: scan table.
        root: folder of the preprocessed sessions.

    Raises:
        UserError: when a session has no record, or a scan no volume in it.
    """
    rows = []
    for _, session in scans.groupby(["dataset", "subject", "session", "group"], sort=True):
        first = rows_of(session)[0]
        record = Path(session_record(root, first, "preproc"))
        if not record.is_file():
            raise UserError(f"{'/'.join(key_of(first))}: not preprocessed, {record} is missing")
        content = read(record)
        for scan_id, modality in zip(session["scan_id"], session["modality"], strict=True):
            path = content["results"]["volumes"].get(modality)
            if path is None:
                raise UserError(f"{scan_id}: {record} lists no {modality} volume: preprocess again")
            rows.append((scan_id, modality, path, content["outputs"][path]))
    table = pd.DataFrame(rows, columns=["scan_id", "modality", "path", "sha256"])
    return table.sort_values("scan_id", ignore_index=True)
