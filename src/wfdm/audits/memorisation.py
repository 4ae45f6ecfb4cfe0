"""How near samples come to training scans, against how near scans come that were never trained on.

Each query (a sample, or a test scan) has of its modality

    d_1   the distance to the nearest training scan
    d_2   the distance to the nearest training scan of any other person

Two questions are asked of them. The count asks how many of n samples have a smaller d_1 than every
one of m test scans (Dar et al. 2023, arXiv 2402.01054, compare these distances too). If samples and
test scans are exchangeable, the k smallest of the n + m distances are all samples' with

    P(K >= k) = prod_{i<k} (n - i) / (n + m - i),    E K = n / (m + 1)

A smooth volume is near to everything, so the count can be large where nothing is copied. The
relative distance d_1 / d_2 does not reward smoothness: of a copy it is small, of everything else
near to 1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.errors import damaged

LATENT, FEATURE, IMAGE = "latent", "feature", "image"
SPACES = (LATENT, FEATURE, IMAGE)
EVERY = "All"
"""names the row of all modalities"""
NEIGHBOURS = ("scan_id", "modality", "split", "space", "nearest", "distance", "relative")
"""columns of the table of neighbours: a row for each query and space"""
AUDITED = (
    *("modality", "space", "n", "n_test", "distance", "distance_test"),
    *("closer", "by_chance", "p", "copies", "copies_test", "relative", "sample", "training"),
)
"""columns of an audit: a row for each modality and space"""


def relative_distance(distances: np.ndarray, people: Sequence[str]) -> tuple[int, float, float]:
    """Return the place of the nearest training scan, d_1, and d_1 / d_2.

    Args:
        distances: (n,) of one query to every training scan, n at least 1.
        people: whose scan each of them is.

    Returns:
        d_1 / d_2 is NaN where all training scans are one person's, and 1 where both are 0.
    """
    place = int(np.argmin(distances))
    others = distances[np.asarray(people) != people[place]]
    nearest = float(distances[place])
    if not len(others):
        return place, nearest, np.nan
    second = float(others.min())
    return place, nearest, nearest / second if second else 1.0


def closer(samples: np.ndarray, tests: np.ndarray) -> int:
    """Return how many samples are closer to a training scan than every test scan is."""
    return int((samples < tests.min()).sum()) if len(tests) else 0


def chances(n: int, m: int) -> np.ndarray:
    """Return P(K = k) for k = 0..n of the count of n samples beside m exchangeable test scans.

    Ties are test scans' (`closer` is strict), so with ties it is an upper bound of the tail.
    """
    if not m:
        return np.eye(1, n + 1)[0]
    steps = np.arange(n)
    tail = np.concatenate([[1.0], np.cumprod((n - steps) / (n + m - steps)), [0.0]])
    return tail[:-1] - tail[1:]


def together(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the distribution of the sum of independent counts: one for each modality."""
    found = np.ones(1)
    for part in parts:
        found = np.convolve(found, part)
    return found


def p_value(count: int, distribution: np.ndarray) -> float:
    """Return P(K >= count)."""
    return float(min(1.0, distribution[count:].sum()))


def audit(samples: pd.DataFrame, tests: pd.DataFrame, copy: float) -> pd.DataFrame:
    """Compare the neighbours of samples with those of test scans.

    A modality without test scans has no count. Of all modalities together, the counts are summed,
    each against the test scans of its own modality.

    Args:
        samples: NEIGHBOURS of the samples.
        tests: the same of scans that were never trained on, in the same spaces.
        copy: below this relative distance a query counts as a copy.

    Returns:
        AUDITED: a row for each modality and space, and of each space one of all. `sample` and
        `training` are the pair of the least relative distance.
    """
    rows = []
    spaces = [space for space in SPACES if space in set(samples["space"])]
    modalities = list(dict.fromkeys(samples["modality"]))
    for space in spaces:
        mine, theirs = (part[part["space"] == space] for part in (samples, tests))
        counted, laws = 0, list[np.ndarray]()
        for modality in modalities:
            own, test = (part[part["modality"] == modality] for part in (mine, theirs))
            count = closer(own["distance"].to_numpy(), test["distance"].to_numpy())
            law = chances(len(own), len(test))
            rows.append(_row(modality, space, own, test, count, law, copy))
            counted, laws = counted + count, [*laws, law]
        against = theirs[theirs["modality"].isin(modalities)]
        rows.append(_row(EVERY, space, mine, against, counted, together(laws), copy))
    return pd.DataFrame(rows, columns=[*AUDITED])


def _row(
    modality: str,
    space: str,
    own: pd.DataFrame,
    test: pd.DataFrame,
    count: int,
    law: np.ndarray,
    copy: float,
) -> dict[str, object]:
    known = own[own["relative"].notna()]
    pair = known.iloc[int(known["relative"].argmin())] if len(known) else None
    return {
        "modality": modality,
        "space": space,
        "n": len(own),
        "n_test": len(test),
        "distance": own["distance"].median(),
        "distance_test": test["distance"].median(),
        "closer": count,
        "by_chance": float(np.arange(len(law)) @ law),
        "p": p_value(count, law),
        "copies": int((own["relative"] < copy).sum()),
        "copies_test": int((test["relative"] < copy).sum()),
        "relative": np.nan if pair is None else pair["relative"],
        "sample": "" if pair is None else pair["scan_id"],
        "training": "" if pair is None else pair["nearest"],
    }


def found(asked: pd.DataFrame, copies: Mapping[str, int], copy: float) -> pd.DataFrame:
    """Tell how many planted scans a generator gives back when it is asked for them.

    A training scan is given back where the sample that was asked for with its modality and metadata
    is a copy, and of this very scan.

    Args:
        asked: NEIGHBOURS of samples that are called as the training scans they were asked for.
        copies: how often a planted scan stood in training, by scan_id; others stood there once.
        copy: below this relative distance a sample counts as a copy.

    Returns:
        space, copies (0: not planted), n, found, relative (median): a row for each space and number
        of copies.
    """
    planted = asked["scan_id"].map(copies).fillna(0).astype(int)
    back = (asked["nearest"] == asked["scan_id"]) & (asked["relative"] < copy)
    table = asked.assign(copies=planted, back=back)
    grouped = table.groupby(["space", "copies"], sort=True)
    counts = grouped.agg(n=("back", "size"), found=("back", "sum"), relative=("relative", "median"))
    return counts.reset_index()


def read_neighbours(path: Path) -> pd.DataFrame:
    """Read NEIGHBOURS. Raises UserError where the file holds something else."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values={"relative": [""]})
        return table[[*NEIGHBOURS]]
    except (OSError, ValueError, KeyError) as error:
        raise damaged(path, error) from None
