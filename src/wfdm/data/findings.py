"""What a source could not use as it is: nothing is left out without a line that says why."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import pandas as pd


@dataclass(frozen=True)
class Finding:
    """One line of the index report.

    `outcome` is "rejected" when a record became no row of the scan table, and "note" when a value
    was changed or should be looked at; `reason` says why.
    """

    outcome: Literal["rejected", "note"]
    dataset: str
    reason: str
    subject: str = ""
    session: str = ""
    modality: str = ""
    path: str = ""


@dataclass(frozen=True)
class Listing:
    """What a source gives: its scans (columns of the scan table), findings, and the files read."""

    scans: pd.DataFrame
    findings: list[Finding] = field(default_factory=list)
    read: list[Path] = field(default_factory=list)


def report(findings: Iterable[Finding]) -> pd.DataFrame:
    """Return the findings as a table, sorted, so that the order of discovery does not show."""
    names = [each.name for each in fields(Finding)]
    table = pd.DataFrame([asdict(finding) for finding in findings], columns=names)
    by = ["outcome", "dataset", "subject", "session", "modality", "path", "reason"]
    return table.drop_duplicates().sort_values(by, ignore_index=True)
