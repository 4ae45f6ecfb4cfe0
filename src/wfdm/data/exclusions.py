"""The exclusion file: scans and sessions that a person leaves out of the study, with the reason."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wfdm.data.paths import key_of
from wfdm.data.tsv import read_tsv
from wfdm.errors import UserError


def read_exclusions(path: Path | str) -> dict[str, str]:
    """Return {key: reason} of an exclusion file; empty when there is no such file.

    The file is tab separated with the columns `key` and `reason`. A key is a scan_id
    ("IXI/sub-12_T1w") or that of a whole session ("IXI/sub-12", "IXI/sub-12_ses-2").

    Raises:
        UserError: the table cannot be read (`wfdm.data.tsv`), a column is missing, a reason is
            empty, or a key is listed twice.
    """
    if not os.path.lexists(path):
        return {}
    table = read_tsv(Path(path))
    if list(table.columns[:2]) != ["key", "reason"]:
        raise UserError(f"{path}: the first columns must be 'key' and 'reason', tab separated")
    excluded: dict[str, str] = {}
    for row in table.rows:
        key, reason = row.cells["key"], row.cells["reason"]
        if not reason:
            raise UserError(f"{path}: {key}: no reason given; say why it is excluded")
        if key in excluded:
            raise UserError(f"{path}: {key} is listed twice; remove one line")
        excluded[key] = reason
    return excluded


def session_of(row: Mapping[str, Any]) -> str:
    """Return the key of the session that a row of the scan table is from: DATASET/sub-..."""
    return f"{row['dataset']}/{key_of(row)[1]}"


def kept(
    rows: Sequence[dict[str, Any]], excluded: Mapping[str, str], where: Path | str
) -> list[dict[str, Any]]:
    """Return the rows of the scan table that no key of `excluded` names.

    Raises:
        UserError: a key names neither a scan nor a session (`where` is the exclusion file).
    """
    known = {row["scan_id"] for row in rows} | {session_of(row) for row in rows}
    if unknown := sorted(set(excluded) - known):
        raise UserError(
            f"{where}: '{unknown[0]}' is no scan or session of the study; correct or remove it"
        )
    return [row for row in rows if not {row["scan_id"], session_of(row)} & set(excluded)]


def obey(rows: Sequence[dict[str, Any]], path: Path | str | None) -> list[dict[str, Any]]:
    """Return the rows of the scan table that the exclusion file at `path`, if any, leaves.

    Raises:
        UserError: as `read_exclusions` and `kept`.
    """
    return kept(rows, read_exclusions(path), path) if path else list(rows)
