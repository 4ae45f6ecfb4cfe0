"""Which scans a stage works on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from wfdm.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def split_volumes(volumes: Path, splits: Path) -> pd.DataFrame:
    """Return the table of volumes with each one's person and split."""
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_table, with_split

    return with_split(read_table(volumes), read_splits(splits))


def of_shard(volumes: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """Return the volumes of one shard, in the order of scan_id."""
    from wfdm.data.shards import in_shard

    mine = in_shard(volumes["scan_id"], shard, shards)
    return volumes.set_index("scan_id", drop=False).loc[mine].reset_index(drop=True)


def test_volumes(volumes: Path, splits: Path, shard: int, shards: int) -> pd.DataFrame:
    """Return the test scans of one shard.

    Raises:
        UserError: the study has no test scan at all.
    """
    return of_shard(test_scans(split_volumes(volumes, splits), splits), shard, shards)


def of_splits(
    volumes: Path, splits: Path, names: list[str], shard: int, shards: int
) -> pd.DataFrame:
    """Return the scans of one shard that are in one of the splits.

    Raises:
        UserError: the study has no test scan at all, and test is asked for.
    """
    if names == ["test"]:
        return test_volumes(volumes, splits, shard, shards)
    table = split_volumes(volumes, splits)
    return of_shard(table[table["split"].isin(names)], shard, shards)


def test_scans(table: pd.DataFrame, splits: Path) -> pd.DataFrame:
    """Return the rows of a table that are of the test split.

    Args:
        table: with column split.
        splits: where the split is from, for the message.

    Raises:
        UserError: there is none.
    """
    test = table[table["split"] == "test"]
    if test.empty:
        raise UserError(
            f"{splits}: there is no test scan; add people, or change the split's shares"
        )
    return test


def training_scans(
    table: pd.DataFrame, test: pd.DataFrame, most: int, seed: int, name: str
) -> pd.DataFrame:
    """Return training scans of each modality, drawn by the seed.

    Args:
        table: of all scans, with column split.
        test: the test scans.
        most: how many of each modality; 0: as many as there are test scans.
        seed: the study's.
        name: of the generator.
    """
    from wfdm.generators.references import draw_real

    training = table[table["split"] == "train"]
    wanted = Counter(test["modality"])
    if most:
        wanted = Counter(
            {modality: min(most, n) for modality, n in Counter(training["modality"]).items()}
        )
    return draw_real(training, wanted, seed, name)
