"""Which samples tell what metadata control, and which real scans stand beside them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wfdm.data.table import rows_of
from wfdm.errors import UserError
from wfdm.seeds import seed_for

SAMPLES, TRUTH, TRAIN, TEST = "samples", "phantoms", "train", "test"
"""kinds of volumes that are compared"""
KEYS = ("scan_id", "kind", "field", "value", "draw", "path")
"""columns of the table of measured volumes; all others are measures in mL"""


@dataclass(frozen=True)
class Asked:
    """One sample that is asked for.

    Attributes:
        field: that varies.
        value: of it; "" where the field is not told.
        draw: number of the noise.
        metadata: all that is told.
    """

    field: str
    value: str
    draw: int
    metadata: Mapping[str, str]

    @property
    def key(self) -> tuple[str, str, str]:
        """What a table says of it: field, value, draw."""
        return self.field, self.value, str(self.draw)


def asked_for(
    fields: Mapping[str, Sequence[float | str]], people: pd.DataFrame, draws: int, seed: int
) -> Iterator[Asked]:
    """Yield every sample: each noise with each value of each field, and without that field.

    Args:
        fields: the values of each.
        people: of whom one, by seed, tells the other fields of a noise: a column for each field.
        draws: how many noises.
        seed: the study's.
    """
    ordered = by_seed(people, seed, "controllability")
    for draw in range(draws):
        person = ordered[draw % len(ordered)]
        for name, values in fields.items():
            others = {other: person[other] for other in fields if other != name and person[other]}
            for value in ("", *map(text, values)):
                told = others | ({name: value} if value else {})
                yield Asked(name, value, draw, told)


def text(value: float | str) -> str:
    """Return a value as tables have it."""
    return value if isinstance(value, str) else f"{value:g}"


def one_of_each(scans: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Return one scan of each person, and of no more than `most` people, both by seed.

    Args:
        scans: columns scan_id, person.
        most: people.
        seed: the study's.
    """
    ordered = pd.DataFrame(by_seed(scans, seed, "one of each"), columns=scans.columns)
    return ordered.drop_duplicates("person").head(most).sort_values("scan_id")


def by_seed(scans: pd.DataFrame, seed: int, name: str) -> list[dict[str, str]]:
    """Return the rows in the order of each scan's own draw: another scan moves no other."""
    return sorted(rows_of(scans), key=lambda row: seed_for(seed, name, row["scan_id"]))


def read_controlled(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return a table of measured volumes, and the names of the measures.

    Raises:
        UserError: the file cannot be read or is none of these.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(KEYS, str))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as measures: {error}") from None
    if lacking := [key for key in KEYS if key not in table]:
        raise UserError(f"{path}: has no column '{lacking[0]}'; is it a file of this evaluation?")
    return table, [name for name in table.columns if name not in KEYS]


def of_fields(table: pd.DataFrame, scans: pd.DataFrame, fields: Iterable[str]) -> pd.DataFrame:
    """Return the volumes of each field: real scans once for each, with what is recorded of them.

    Args:
        table: of `read_controlled`.
        scans: the scan table.
        fields: of the metadata.
    """
    recorded = scans.set_index("scan_id")
    real = table["kind"].isin([TRAIN, TEST])
    parts = [table[~real]]
    for field in fields:
        values = table.loc[real, "scan_id"].map(recorded[field])
        parts.append(table[real].assign(field=field, value=values))
    return pd.concat(parts)
