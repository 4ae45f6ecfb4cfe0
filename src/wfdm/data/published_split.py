"""The authors' released division of BrainScape, made deterministic; it leaks people (see `leaks`).

BrainScape's export_preprocessed_split.py: each dataset on its own; its modalities from the rarest
to the commonest; the subjects that have one and are not placed yet are shuffled and cut at
floor(train n) and floor(validation n), the rest tests. A subject is a folder name in lower case.
BRATS is divided by record: round(0.1 N) of the records named validation-* test, the others of
them validate and are topped up to floor(0.1 N) from the training-* records, which train.

Theirs depends on the order of sets of strings; here every shuffle has a named seed.
"""

import math

import pandas as pd

from wfdm.config.cohort import SplitSettings
from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.seeds import generator_for

BRATS = "BRATS"


def published_split(scans: pd.DataFrame, settings: SplitSettings, seed: int) -> pd.Series:
    """Return the split of every scan, on the index of `scans`.

    Raises UserError when BRATS has fewer validation records than the rule tests on.
    """
    units = scans["dataset"] + "/" + scans["subject"].str.lower()
    table = pd.DataFrame(
        {"unit": units, "dataset": scans["dataset"], "modality": scans["modality"]}
    ).drop_duplicates()
    placed: dict[str, str] = {}
    for dataset, members in table.groupby("dataset", sort=True):
        having = {name: set(part["unit"]) for name, part in members.groupby("modality")}
        if dataset == BRATS:
            placed |= _brats(set(members["unit"]), settings, seed)
            continue
        for modality in sorted(having, key=lambda name: (len(having[name]), _rank(name))):
            waiting = sorted(having[modality] - placed.keys())
            generator_for(seed, "published split", str(dataset), str(modality)).shuffle(waiting)
            placed |= _cut(waiting, settings)
    return units.map(placed)


def _rank(modality: object) -> int:
    return MODALITIES.index(str(modality))


def _cut(people: list[str], settings: SplitSettings) -> dict[str, str]:
    train = math.floor(settings.train * len(people))
    validation = train + math.floor(settings.validation * len(people))
    return {
        person: "train" if i < train else "validation" if i < validation else "test"
        for i, person in enumerate(people)
    }


def _brats(records: set[str], settings: SplitSettings, seed: int) -> dict[str, str]:
    held: list[str] = []
    pool: list[str] = []
    for record in sorted(records):
        (held if record.split("/")[1].startswith("validation-") else pool).append(record)
    test = round((1 - settings.train - settings.validation) * len(records))
    if len(held) < test:
        raise UserError(
            f"split: rule 'published' tests on {test} records of {BRATS} named validation-*, but "
            f"there are {len(held)}: use rule 'person', or the whole of {BRATS}"
        )
    for name, part in (("validation", held), ("training", pool)):
        generator_for(seed, "published split", BRATS, name).shuffle(part)
    needed = max(0, math.floor(settings.validation * len(records)) - (len(held) - test))
    return (
        dict.fromkeys(held[:test], "test")
        | dict.fromkeys(held[test:] + pool[:needed], "validation")
        | dict.fromkeys(pool[needed:], "train")
    )
