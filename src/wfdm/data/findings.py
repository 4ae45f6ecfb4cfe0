"""What a source could not use as it stands: nothing is left out without a line that says why."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import pandas as pd


@dataclass(frozen=True)
class Finding:
    """One line of the index report.

    `outcome`: a record was rejected (no row of the scan table), or a value was changed or is
    worth a look (note); `reason` says why.
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
    """Return the findings as a table, in an order that discovery leaves no trace in."""
    names = [each.name for each in fields(Finding)]
    table = pd.DataFrame([asdict(finding) for finding in findings], columns=names)
    by = ["outcome", "dataset", "subject", "session", "modality", "path", "reason"]
    return table.drop_duplicates().sort_values(by, ignore_index=True)
