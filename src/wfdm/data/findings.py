"""What a source could not use as it is: nothing is left out without a line that says why."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import pandas as pd

from wfdm.errors import one_line

Outcome = Literal["rejected", "other", "note"]


@dataclass(frozen=True)
class Finding:
    """One line of the index report.

    `outcome` is "rejected" when a scan, or what may be one, became no row of the scan table,
    "other" for what is no scan (tables that are read, sidecars, folders that are left alone), and
    "note" when a value was changed or should be looked at; `reason` says why. In the findings of a
    BIDS source only what is no scan of the table has a `path`: each file once, or a folder for all
    that is in it.
    """

    outcome: Outcome
    dataset: str
    reason: str
    subject: str = ""
    session: str = ""
    modality: str = ""
    path: str = ""


@dataclass(frozen=True)
class Listing:
    """What a source gives: its scans (columns of the scan table), findings, and the files read.

    `roots` says which folder each dataset's label stands for, where a folder is what it stands for.
    """

    scans: pd.DataFrame
    findings: list[Finding] = field(default_factory=list)
    read: list[Path] = field(default_factory=list)
    roots: dict[str, Path] = field(default_factory=dict)


def report(findings: Iterable[Finding]) -> pd.DataFrame:
    """Return the findings as a table, sorted, so that the order of discovery does not show.

    Names of files may hold what no table can: it is escaped (`one_line`).
    """
    names = [each.name for each in fields(Finding)]
    rows = [{key: one_line(text) for key, text in asdict(each).items()} for each in findings]
    table = pd.DataFrame(rows, columns=names)
    by = ["outcome", "dataset", "subject", "session", "modality", "path", "reason"]
    return table.drop_duplicates().sort_values(by, ignore_index=True)
