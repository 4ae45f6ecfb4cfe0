"""Table 1: how many scans each split holds of each modality."""

from pathlib import Path

import pandas as pd

from wfdm.data.table import rows_of, with_split
from wfdm.tables.cohort import PRINTED, TOTAL, reasons
from wfdm.tables.published import ABSENT, KEY, read_published
from wfdm.tables.text import join


def table1(
    scans: pd.DataFrame, splits: pd.DataFrame, published: Path | str, rule: str, note: str = ""
) -> pd.DataFrame:
    """Count scans per modality and split (paper, table 1), with the reason of each difference.

    Args:
        scans: columns scan_id, dataset, subject, modality.
        splits: columns scan_id, person, split.
        published: the paper's table 1.
        rule: how this study divides people (`split.rule`).
        note: how this study differs (`differences`).

    Raises:
        UserError: a scan has no split.
    """
    paper = read_published(published)
    joined = with_split(scans[["scan_id", "dataset", "subject", "modality"]], splits)
    why = reasons(joined, paper, rule)
    rows = []
    for row in rows_of(paper):
        key = row[KEY]
        part = joined if key == TOTAL else joined[joined["modality"] == key]
        cells = {"Modality": row["Modality"]}
        counts = {"Total": len(part)}
        counts |= {name: int((part["split"] == split).sum()) for split, name in PRINTED.items()}
        for column, count in counts.items():
            cells |= {column: str(count), f"{column} published": row[column]}
        cells |= {"reason": why[key], "note": note if len(part) else join(ABSENT, note)}
        rows.append(cells)
    return pd.DataFrame(rows)
