"""Table A2: what a generator's metadata control, beside real scans and nulls."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from wfdm.evaluation import control_columns as c
from wfdm.tables.measured import read_measured
from wfdm.tables.text import number

EFFECTS = {
    c.TOLD: "{label}, told",
    c.ALIKE: "{label}, not told (null)",
    c.BIT: "{label}, told minus not told",
    c.TRUTH: "Phantoms without a scanner (truth)",
    c.TEST: "Real test scans",
    c.TRAIN: "Real training scans",
    c.SHUFFLED: "Real training scans, shuffled (null)",
}
READERS = {
    c.READ: "Trained on real scans, read on {label}",
    c.BACK: "Trained on {label}, read on real test scans",
    c.CEILING: "Trained on real scans, read on real test scans (ceiling)",
    c.MIXED: "Trained on shuffled values, read on real test scans (null)",
    c.GUESS: "Mean or largest of the training scans for all (floor)",
}
MASKS = {
    c.CEILING: "Nearest pattern of recorded bits",
    c.GUESS: "Largest dataset for all (floor)",
}
ABOUT = (
    "95 % intervals: Student's over noises, of samples and phantoms; of a regression or Welch's, "
    "of real scans, one a person; of 1000 shuffles, of readers 100; bootstrap over noises or "
    "people, of readers; Clopper's and Pearson's, of the dataset's share. Of one noise all samples "
    "without the field are one volume, slope 0 to the last bit: for 'not told' each noise is given "
    "one value"
)


def table_a2(controls: Mapping[str, Path | str], labels: Mapping[str, str]) -> pd.DataFrame:
    """Return a row for each effect and reader of each generator; of real scans once.

    Args:
        controls: CSV of `control_columns.COLUMNS` by the generator.
        labels: what a generator is called in the table.

    Raises:
        UserError: a file cannot be read.
    """
    rows, seen = [], set()
    for name, path in controls.items():
        for found in read_measured(path, c.COLUMNS).to_dict("records"):
            row = _row(found, labels[name])
            if (key := tuple(row.values())) not in seen:
                seen.add(key)
                rows.append(row)
    order = {key: place for place, key in enumerate(dict.fromkeys(_about(row) for row in rows))}
    rows.sort(key=lambda row: order[_about(row)])
    return pd.DataFrame(rows)


def _about(row: Mapping[str, str]) -> tuple[str, str, str]:
    return row["Field"], row["Quantity"], row["Unit"]


def _row(found: Mapping, label: str) -> dict[str, str]:
    """Return a row of the table; digits by the size of the value, the same for its interval."""
    of, field = str(found["of"]), str(found["field"])
    effect = str(found["unit"]).startswith("mL")
    names = EFFECTS if effect else MASKS if field == c.MASK else READERS
    style = ".1f" if abs(found["value"]) >= 100 else ".2f" if effect else ".3f"
    return {
        "Field": field,
        "Quantity": str(found["quantity"]),
        "Unit": "" if pd.isna(found["unit"]) else str(found["unit"]),
        "Scans": names[of].format(label=label),
        "Value": number(found["value"], style),
        "Low": number(found["low"], style),
        "High": number(found["high"], style),
        "r": number(found["r"], ".2f"),
        "n": str(int(found["n"])),
        "note": ABOUT,
    }
