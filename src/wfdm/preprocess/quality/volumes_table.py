"""The table of preprocessed volumes, gathered from the records of all sessions that may go on."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wfdm.config.preprocess import QualitySettings
from wfdm.data.exclusions import session_of
from wfdm.errors import UserError
from wfdm.provenance.records import read


def gather(rows: Iterable[Mapping[str, Any]], records: Mapping[str, Path]) -> pd.DataFrame:
    """Return scan_id, modality, path and sha256 of every scan's preprocessed volume.

    Scans of a session that failed, and those that failed alone, are left out.

    Args:
        rows: of the scan table, without what is excluded.
        records: of the preprocessed sessions, by key.

    Raises:
        UserError: a session has no record, or a scan no volume in it.
    """
    contents: dict[str, Mapping[str, Any]] = {}
    found = []
    for row in rows:
        key = session_of(row)
        if key not in records:
            raise UserError(f"{key}: not preprocessed, no shard lists it")
        if key not in contents:
            contents[key] = read(records[key])
        results, outputs = contents[key]["results"], contents[key]["outputs"]
        if "failed" in results or row["modality"] in results.get("left_out", {}):
            continue
        volume = results["volumes"].get(row["modality"])
        if volume is None:
            raise UserError(
                f"{row['scan_id']}: {records[key]} lists no {row['modality']} volume: "
                "preprocess again"
            )
        found.append((row["scan_id"], row["modality"], volume, outputs[volume]))
    table = pd.DataFrame(found, columns=["scan_id", "modality", "path", "sha256"])
    return table.sort_values("scan_id", ignore_index=True)


def _first(keys: Iterable[str]) -> str:
    listed = list(keys)
    return ", ".join(listed[:5]) + (" ..." if len(listed) > 5 else "")


def enforce(table: pd.DataFrame, settings: QualitySettings, page: Path | str) -> str:
    """Return a line about the failed sessions, when the policy lets the study go on.

    Args:
        table: the quality table, with columns session and status.
        settings: policy and ceiling.
        page: where a person can look at them.

    Raises:
        UserError: policy "fail" and a session failed, or more than the ceiling did.
    """
    failed = table[table["status"] == "failed"]
    alone = " ".join(table["left_out"].fillna("")).split() if "left_out" in table else []
    if failed.empty and not alone:
        return ""
    share = len(failed) / len(table)
    parts = []
    if len(failed):
        parts.append(f"{len(failed)} of {len(table)} sessions failed: {_first(failed['session'])}")
    if alone:
        parts.append(f"{len(alone)} scans failed alone: {_first(alone)}")
    told = "; ".join(parts)
    if settings.policy == "fail":
        raise UserError(
            f"{told}; see {page}, then mend their scans, list them in {settings.exclusions}, or "
            "set quality.policy to skip"
        )
    if share > settings.ceiling:
        raise UserError(
            f"{told}; that is {share:.1%}, more than quality.ceiling ({settings.ceiling:.1%}): "
            f"see {page}"
        )
    return f"{told}; the study goes on without them (quality.policy is skip), see {page}"
