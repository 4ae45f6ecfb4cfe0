"""Table A3: how near samples come to training scans; and planted duplicates that were found."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from wfdm.tables.measured import read_measured
from wfdm.tables.memorised import EVERY, read_audit
from wfdm.tables.text import number

COUNTED = {
    "n": "n",
    "n_test": "n test",
    "closer": "Closer than any test scan",
    "by_chance": "By chance",
    "p": "p",
    "copies": "Copies",
    "copies_test": "Copies among test scans",
    "distance": "Median distance",
    "distance_test": "Median distance of test scans",
    "relative": "Least relative distance",
}
FORMATS = {"by_chance": ".2f", "p": ".4g", "distance": ".4g", "distance_test": ".4g"}
FORMATS |= {"relative": ".3f"}
PAIR = {"sample": "Sample", "training": "Training scan"}
LOSS = "loss"
AUC = {"AUC": ".3f", "AUC low": ".3f", "AUC high": ".3f", "AUC floor": ".3f"}
SCORES = (*AUC, "n_training", "n_unseen")
PLANTED = ("space", "copies", "n", "found", "relative", "AUC", "AUC floor")
NOTE = (
    "a copy is a sample whose nearest training scan is nearer than {copy:g} of the distance to the "
    "nearest of another person; p is that of the count, were samples and test scans exchangeable; "
    "AUC: a training scan's loss below an unseen scan's, with a 95 % interval over people; "
    "AUC floor: of a network that answers nothing"
)


def table_a3(
    audits: Mapping[str, Path | str],
    memberships: Mapping[str, Path | str],
    copy: float,
    labels: Mapping[str, str],
) -> pd.DataFrame:
    """Return a row for each system, modality and space, and one for the loss of its denoiser.

    Args:
        audits: CSV of `audits.memorisation.audit` by the system's key.
        memberships: CSV of the AUC by the key of the system that samples from the denoiser.
        copy: below this relative distance a sample is a copy.
        labels: what a system is called, by its key.

    Raises:
        UserError: a file cannot be read.
    """
    rows = []
    for key, path in audits.items():
        name = labels.get(key, key)
        rows += [_distances(name, row) for row in read_audit(path).to_dict("records")]
        if key in memberships:
            (score,) = read_measured(memberships[key], SCORES).to_dict("records")
            rows.append(_loss(name, score))
    return pd.DataFrame(rows).fillna("").assign(note=NOTE.format(copy=copy))


def _distances(name: str, row: Mapping) -> dict[str, str]:
    cells = {"System": name, "Modality": str(row["modality"]), "Compared in": str(row["space"])}
    cells["Verdict"] = _verdict(row)
    for column, title in COUNTED.items():
        style = FORMATS.get(column)
        cells[title] = number(row[column], style) if style else str(row[column])
    return cells | dict.fromkeys(AUC, "") | {title: str(row[c]) for c, title in PAIR.items()}


def _verdict(row: Mapping) -> str:
    """Say what was found; where test scans are called copies too, the space tells nothing."""
    if row["copies_test"]:
        return "cannot tell: test scans count as copies"
    return "copies" if row["copies"] else "no copy found"


def _loss(name: str, score: Mapping) -> dict[str, str]:
    apart = score["AUC low"] > max(0.5, score["AUC floor"])
    return {
        "System": name,
        "Modality": EVERY,
        "Compared in": LOSS,
        "Verdict": "training scans are told apart" if apart else "not told apart",
        COUNTED["n"]: str(score["n_training"]),
        COUNTED["n_test"]: str(score["n_unseen"]),
        **{column: number(score[column], style) for column, style in AUC.items()},
    }


def planted_table(searches: Mapping[str, Path | str], labels: Mapping[str, str]) -> pd.DataFrame:
    """Return how many planted scans were found, by system, space and number of copies.

    Args:
        searches: CSV of the search by the system's key.
        labels: what a system is called, by its key.

    Raises:
        UserError: a file cannot be read.
    """
    rows = []
    for key, path in searches.items():
        for row in read_measured(path, PLANTED).to_dict("records"):
            cells = {"System": labels.get(key, key), "Compared in": str(row["space"])}
            cells["Copies"] = str(row["copies"]) if row["copies"] else "not planted"
            cells |= {"n": str(row["n"]), "Found": str(row["found"])}
            cells["Median relative distance"] = number(row["relative"], ".3f")
            rows.append(cells | {name: number(row[name], ".3f") for name in ("AUC", "AUC floor")})
    return pd.DataFrame(rows)
