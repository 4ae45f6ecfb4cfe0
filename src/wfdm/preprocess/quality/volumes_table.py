"""The table of preprocessed volumes, gathered from the records of all sessions that may go on."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wfdm.config.preprocess import QualitySettings
from wfdm.data.exclusions import session_of
from wfdm.errors import UserError
from wfdm.provenance.records import read


def contents_of(
    rows: Iterable[Mapping[str, Any]], records: Mapping[str, Path]
) -> dict[str, Mapping[str, Any]]:
    """Return the record of each row's session, by the session's key.

    Args:
        rows: of the scan table, without what is excluded.
        records: of the preprocessed sessions, by key.

    Raises:
        UserError: a session has no record.
    """
    contents: dict[str, Mapping[str, Any]] = {}
    for key in map(session_of, rows):
        if key not in records:
            raise UserError(f"{key}: not preprocessed, no shard lists it")
        if key not in contents:
            contents[key] = read(records[key])
    return contents


def gather(
    rows: Iterable[Mapping[str, Any]], contents: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Return scan_id, modality, path and sha256 of every scan's preprocessed volume.

    Scans of a session that failed, and those that failed alone, are left out.

    Args:
        rows: of the scan table, without what is excluded.
        contents: of their sessions' records (`contents_of`).

    Raises:
        UserError: a scan has no volume in its session's record.
    """
    found = []
    for row in rows:
        content = contents[session_of(row)]
        results, outputs = content["results"], content["outputs"]
        if "failed" in results or row["modality"] in results.get("left_out", {}):
            continue
        volume = results["volumes"].get(row["modality"])
        if volume is None:
            raise UserError(
                f"{row['scan_id']}: the record of {session_of(row)} lists no {row['modality']} "
                "volume: preprocess again"
            )
        found.append((row["scan_id"], row["modality"], volume, outputs[volume]))
    table = pd.DataFrame(found, columns=["scan_id", "modality", "path", "sha256"])
    return table.sort_values("scan_id", ignore_index=True)


def _first(keys: Iterable[str]) -> str:
    listed = list(keys)
    return ", ".join(listed[:5]) + (" ..." if len(listed) > 5 else "")


def enforce(
    contents: Mapping[str, Mapping[str, Any]], settings: QualitySettings, page: Path | str
) -> str:
    """Return a line about the failed sessions, when the policy lets the study go on.

    Args:
        contents: of the sessions' records, by key (`contents_of`).
        settings: policy and ceiling.
        page: where a person can look at them, once Snakemake has made it.

    Raises:
        UserError: policy "fail" and a session failed, or more than the ceiling did.
    """
    results = {key: contents[key]["results"] for key in sorted(contents)}
    failed = [key for key, found in results.items() if "failed" in found]
    alone = [f"{key}_{name}" for key, each in results.items() for name in each.get("left_out", ())]
    if not failed and not alone:
        return ""
    share = len(failed) / len(results)
    parts = []
    if failed:
        parts.append(f"{len(failed)} of {len(results)} sessions failed: {_first(failed)}")
    if alone:
        parts.append(f"{len(alone)} scans failed alone: {_first(alone)}")
    told, see = "; ".join(parts), f"see {page} (ask Snakemake for it)"
    if settings.policy == "fail":
        raise UserError(
            f"{told}; {see}, then mend their scans, list them in {settings.exclusions}, or "
            "set quality.policy to skip"
        )
    if share > settings.ceiling:
        raise UserError(
            f"{told}; that is {share:.1%}, more than quality.ceiling ({settings.ceiling:.1%}): "
            f"{see}"
        )
    return f"{told}; the study goes on without them (quality.policy is skip), {see}"
