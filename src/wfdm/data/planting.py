"""Planted duplicates: training scans that stand in a training several times, for audits to find."""

from collections.abc import Mapping

import pandas as pd

from wfdm.errors import UserError
from wfdm.seeds import generator_for


def planted(scan_ids: pd.Series, copies: Mapping[int, int], seed: int, name: str) -> dict[str, int]:
    """Draw the training scans that are planted, and say how often each of them stands there.

    The most copies are drawn first, so that a further group of fewer copies moves none of them.

    Args:
        scan_ids: of the training split.
        copies: how many scans by how many copies.
        seed: the study's.
        name: of the denoiser.

    Returns:
        Copies by scan_id.

    Raises:
        UserError: there are not as many scans.
    """
    wanted = [count for count in sorted(copies, reverse=True) for _ in range(copies[count])]
    if len(wanted) > len(scan_ids):
        raise UserError(
            f"denoisers.{name}.training.copies: asks for {len(wanted)} training scans, but there "
            f"are {len(scan_ids)}"
        )
    ordered = sorted(scan_ids)
    places = generator_for(seed, "planted", name).permutation(len(ordered))
    drawn = [ordered[place] for place in places[: len(wanted)]]
    return dict(zip(drawn, wanted, strict=True))


def repeated(scans: pd.DataFrame, copies: Mapping[str, int]) -> pd.DataFrame:
    """Return the scans with each planted one's row as often as it has copies, next to each other.

    Args:
        scans: with the column scan_id.
        copies: by scan_id; of every other scan one row is left as it is.
    """
    times = [copies.get(scan_id, 1) for scan_id in scans["scan_id"]]
    return scans.loc[scans.index.repeat(times)]
