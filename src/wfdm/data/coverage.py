"""How much of the cohort each metadata field covers, in all and per modality."""

import pandas as pd

from wfdm.data.metadata import load_schema
from wfdm.data.table import MODALITIES


def coverage(scans: pd.DataFrame) -> pd.DataFrame:
    """Return one row per field, then "any field" and "no field".

    Columns: field; datasets, subjects and scans that have it recorded; percentages of the subjects
    and scans there are; the count and percentage of each modality's scans.
    """
    recorded = scans[list(load_schema().names)] != ""
    parts = {name: recorded[name] for name in recorded}
    parts |= {"any field": recorded.any(axis=1), "no field": ~recorded.any(axis=1)}
    subject = scans["dataset"] + "/" + scans["subject"]
    groups = {"scans": pd.Series(True, index=scans.index)}
    groups |= {modality: scans["modality"] == modality for modality in MODALITIES}
    rows = []
    for field, has in parts.items():
        cells = {"field": field, "datasets": str(scans.loc[has, "dataset"].nunique())}
        cells |= _share("subjects", subject[has].nunique(), subject.nunique())
        for name, group in groups.items():
            cells |= _share(name, int((has & group).sum()), int(group.sum()))
        rows.append(cells)
    return pd.DataFrame(rows)


def _share(name: str, count: int, total: int) -> dict[str, str]:
    return {name: str(count), f"{name} %": f"{100 * count / total:.1f}" if total else ""}
