"""Train, validation and test: divided by person, so that nobody stands in two of them."""

import pandas as pd

from wfdm.config.data import SplitSettings
from wfdm.data.table import SPLITS
from wfdm.errors import UserError
from wfdm.seeds import generator_for


def split_people(scans: pd.DataFrame, settings: SplitSettings, seed: int) -> pd.DataFrame:
    """Return scan_id, person and split of every scan.

    Each dataset is divided on its own. Its modalities are taken from the rarest to the most
    common (as BrainScape's published procedure does); the people who have one and are not placed
    yet are shuffled, and each goes to the split that lacks most of its share so far. So both the
    rare modality and the whole dataset come close to the shares, even with few people.

    Args:
        scans: scan table; a person may have many scans, in several sessions or datasets.
        settings: shares of people.
        seed: the study's seed.

    Raises:
        UserError: when the shares add up to more than 1.
    """
    if settings.train + settings.validation > 1:
        raise UserError("split: train + validation is more than 1: nothing is left to test on")
    shares = (settings.train, settings.validation, 1 - settings.train - settings.validation)
    placed: dict[str, str] = {}
    for dataset, members in scans.groupby("dataset", sort=True):
        counts = members["modality"].value_counts()
        taken = [0, 0, 0]
        for modality in sorted(counts.index, key=lambda name: (counts[name], name)):
            having = set(members.loc[members["modality"] == modality, "person"])
            waiting = sorted(having - placed.keys())
            generator_for(seed, "split", str(dataset), str(modality)).shuffle(waiting)
            for person in waiting:
                placed[person] = SPLITS[_neediest(taken, shares)]
    result = scans[["scan_id", "person"]].assign(split=scans["person"].map(placed))
    check_no_leak(result)
    return result.sort_values("scan_id", ignore_index=True)


def _neediest(taken: list[int], shares: tuple[float, float, float]) -> int:
    """Count one more person into the split that lacks most of its share; return its number."""
    total = sum(taken) + 1
    # Rounded, so that shares such as 1 - 0.8 - 0.1 tie exactly; ties go to the earlier split.
    lacking = [round(share * total - have, 9) for share, have in zip(shares, taken, strict=True)]
    chosen = lacking.index(max(lacking))
    taken[chosen] += 1
    return chosen


def check_no_leak(splits: pd.DataFrame) -> None:
    """Raise UserError when a person stands in two splits, or a scan in none."""
    if splits["split"].isna().any():
        raise UserError(f"split: {splits.loc[splits['split'].isna(), 'scan_id'].iloc[0]} has none")
    per_person = splits.groupby("person")["split"].nunique()
    leaked = per_person[per_person > 1]
    if len(leaked):
        raise UserError(f"split: {leaked.index[0]} stands in {leaked.iloc[0]} splits")
