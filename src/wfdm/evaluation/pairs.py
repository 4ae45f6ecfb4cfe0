"""Pairs of samples: which of them are compared, and what the comparisons gave."""

from collections.abc import Sequence
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.seeds import generator_for

PAIR = ("modality", "first", "second")
SCORE = "MS-SSIM"


def draw_pairs(n: int, most: int, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Draw min(`most`, n(n-1)/2) different pairs i < j of n items, in ascending order.

    A pair's number in the order (0,1), (0,2), ..., (1,2), ... is drawn without replacement.
    """
    total = n * (n - 1) // 2
    numbers = np.sort(generator.choice(total, size=min(most, total), replace=False))
    after = np.cumsum(np.arange(n - 1, 0, -1))  # pairs whose first item is at most i
    first = np.searchsorted(after, numbers, side="right")
    second = numbers - after[first] + n
    return list(zip(first.tolist(), second.tolist(), strict=True))


def pairs_of(samples: pd.DataFrame, most: int, seed: int, generator: str) -> pd.DataFrame:
    """Draw at most `most` pairs of samples of each modality: the same in every shard.

    Args:
        samples: columns scan_id, modality.
        most: pairs per modality.
        seed: the study's.
        generator: its name; with the seed and the modality it fixes the draw.

    Returns:
        Columns PAIR, the two scan_ids in ascending order; modality by modality.
    """
    rows = []
    for modality in MODALITIES:
        names = sorted(samples.loc[samples["modality"] == modality, "scan_id"])
        if len(names) > 1:
            drawn = generator_for(seed, "diversity", generator, modality)
            pairs = draw_pairs(len(names), most, drawn)
            rows += [(modality, names[first], names[second]) for first, second in pairs]
    return pd.DataFrame(rows, columns=list(PAIR))


def of_shard(pairs: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """Return one shard of the pairs: neighbours, for they share volumes.

    Raises:
        UserError: there is no such shard.
    """
    if not 0 <= shard < shards:
        raise UserError(f"shard {shard}: there are {shards}, counted from 0")
    begin, end = (len(pairs) * number // shards for number in (shard, shard + 1))
    return pairs[begin:end]


def read_scores(parts: Sequence[Path]) -> pd.DataFrame:
    """Read the shards of `diversity.score_pairs` as one table, in their order, with every bit.

    Raises:
        UserError: a file is no table of pairs.
    """
    tables = []
    for path in parts:
        try:
            table = pd.read_csv(
                path,
                dtype=dict.fromkeys(PAIR, str),
                keep_default_na=False,
                float_precision="round_trip",
            )
            tables.append(table[[*PAIR, SCORE]].astype({SCORE: float}))
        except (OSError, KeyError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as scores of pairs: {error}") from None
    return pd.concat(tables, ignore_index=True)


def self_similarity(scores: pd.DataFrame, modality: str) -> tuple[float, int]:
    """Return the mean MS-SSIM over the pairs of a modality and their number; NaN and 0 of none."""
    found = scores.loc[scores["modality"] == modality, SCORE].to_numpy()
    return (float(np.mean(found)), len(found)) if len(found) else (nan, 0)
