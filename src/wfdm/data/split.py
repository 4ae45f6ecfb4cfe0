"""Train, validation and test: divided by person, so that nobody is in two of them."""

from pathlib import Path

import pandas as pd

from wfdm.config.cohort import SplitSettings
from wfdm.data.metadata import load_schema
from wfdm.data.published_split import published_split
from wfdm.data.sources.brainscape import exported_split
from wfdm.data.split_table import check_no_leak, in_two_splits
from wfdm.data.table import SPLITS, read_table
from wfdm.errors import UserError
from wfdm.seeds import generator_for


def divide(scans: pd.DataFrame, settings: SplitSettings, seed: int) -> pd.DataFrame:
    """Return scan_id, person, split and leak of every scan.

    `leak` is "yes" for the scans of people who are in two splits, else "". Only rule 'published'
    allows such people; otherwise they are always refused here.

    Args:
        scans: scan table; a person may have many scans, in several sessions or datasets.
        settings: the rule, the shares of people, a frozen file.
        seed: the study's seed.

    Raises:
        UserError: somebody is in two splits and the rule is 'person', a scan is in none, or
            the frozen file cannot be used.
    """
    if settings.file:
        split = _frozen(scans, Path(settings.file))
    elif settings.rule == "published":
        split = published_split(scans, settings, seed)
    else:
        split = _by_person(scans, settings, seed)
    result = scans[["scan_id", "person"]].assign(split=split)
    leaking = in_two_splits(result) if settings.rule == "published" else set()
    result["leak"] = result["person"].isin(leaking).map({True: "yes", False: ""})
    check_no_leak(result)
    return result.sort_values("scan_id", ignore_index=True)


def _by_person(scans: pd.DataFrame, settings: SplitSettings, seed: int) -> pd.Series:
    """Divide each dataset's people, its modalities from the rarest to the most common.

    The people who have a modality and are not placed yet are shuffled (within strata, if asked),
    and each goes to the split that lacks most of its share so far; people whom an earlier dataset
    placed are counted. So the rare modality, the whole dataset and every stratum come close to the
    shares, even with few people.
    """
    shares = (settings.train, settings.validation, 1 - settings.train - settings.validation)
    strata = _strata(scans, settings.stratify)
    placed: dict[str, str] = {}
    for dataset, members in scans.groupby("dataset", sort=True):
        counts = members["modality"].value_counts()
        here = [placed[person] for person in set(members["person"]) if person in placed]
        taken = [here.count(split) for split in SPLITS]
        for modality in sorted(counts.index, key=lambda name: (counts[name], name)):
            having = set(members.loc[members["modality"] == modality, "person"])
            for person in _dealt(having - placed.keys(), strata, seed, str(dataset), str(modality)):
                placed[person] = SPLITS[_neediest(taken, shares)]
    return scans["person"].map(placed)


def _strata(scans: pd.DataFrame, fields: list[str]) -> dict[str, tuple[str, ...]]:
    """Return {person: values of the fields on the first scan}."""
    categories = [field.name for field in load_schema().fields if field.values]
    for name in fields:
        if name not in categories:
            raise UserError(
                f"split.stratify: '{name}' is no category field; use {', '.join(categories)}"
            )
    first = scans.sort_values("scan_id").drop_duplicates("person")
    values = zip(*(first[name] for name in fields), strict=True) if fields else [()] * len(first)
    return dict(zip(first["person"], values, strict=True))


def _dealt(
    people: set[str], strata: dict[str, tuple[str, ...]], seed: int, dataset: str, modality: str
) -> list[str]:
    """Return people in the order they are dealt: shuffled, stratum by stratum."""
    rng = generator_for(seed, "split", dataset, modality)
    waiting = sorted(people)
    rng.shuffle(waiting)
    order = sorted({strata[person] for person in waiting})
    rng.shuffle(order)  # else a small stratum would always go to the first split
    rank = {tuple(stratum): position for position, stratum in enumerate(order)}
    return sorted(waiting, key=lambda person: rank[strata[person]])


def _neediest(taken: list[int], shares: tuple[float, float, float]) -> int:
    """Count one more person into the split that lacks most of its share; return its number."""
    total = sum(taken) + 1
    # Rounded, so that shares such as 1 - 0.8 - 0.1 tie exactly; ties go to the earlier split.
    lacking = [round(share * total - have, 9) for share, have in zip(shares, taken, strict=True)]
    chosen = lacking.index(max(lacking))
    taken[chosen] += 1
    return chosen


def _frozen(scans: pd.DataFrame, path: Path) -> pd.Series:
    """Return the split that a file gives to each scan; the file may have scans that are not here.

    Raises UserError for a file of another form, a split of another name, or a scan it lacks.
    """
    if path.suffix == ".json":
        given = exported_split(path)
    else:
        table = read_table(path)
        if not {"scan_id", "split"} <= set(table.columns):
            raise UserError(f"{path}: no columns scan_id and split")
        given = dict(zip(table["scan_id"], table["split"], strict=True))
    if unknown := sorted(set(given.values()) - set(SPLITS)):
        raise UserError(f"{path}: unknown split '{unknown[0]}': use {', '.join(SPLITS)}")
    lost = scans.loc[~scans["scan_id"].isin(given.keys()), "scan_id"]
    if len(lost):
        raise UserError(
            f"{path}: says nothing about {lost.min()} and {len(lost) - 1} more scans: freeze the "
            "split of this cohort, or leave those scans out"
        )
    return scans["scan_id"].map(given)


def leaks(scans: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Return the people who are in two splits or three: person, subjects, splits, scans."""
    leaking = splits[splits["leak"] == "yes"].merge(scans[["scan_id", "dataset", "subject"]])
    rows = []
    for person, part in leaking.groupby("person", sort=True):
        subjects = sorted(set(part["dataset"] + "/" + part["subject"]))
        found = [split for split in SPLITS if split in set(part["split"])]
        rows.append((person, " ".join(subjects), " ".join(found), str(len(part))))
    return pd.DataFrame(rows, columns=["person", "subjects", "splits", "scans"])
