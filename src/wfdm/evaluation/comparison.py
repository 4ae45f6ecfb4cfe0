"""One comparison of real and synthetic features: its distances, and their resamples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfdm.evaluation.distribution import (
    FEWEST,
    Distances,
    Draws,
    distances,
    published_distances,
    resampled,
)
from wfdm.evaluation.features import Features
from wfdm.evaluation.resampling import FEWEST_RESAMPLED, counts_of, interval


@dataclass(frozen=True)
class Sides:
    """The features of some scans, and how often each scan is in which resample."""

    made: dict[str, np.ndarray]
    """float64 (n, d) for each mapping of intensities, the first one first"""
    real: dict[str, np.ndarray]
    """float64 (m, d), likewise"""
    made_counts: np.ndarray
    """(B, n)"""
    real_counts: np.ndarray
    """(B, m)"""

    @property
    def fewest(self) -> int:
        """Scans on the smaller side."""
        return min(self.made_counts.shape[1], self.real_counts.shape[1])


def sides_of(real: Features, made: Features, modality: str, seed: int, resamples: int) -> Sides:
    """Return the features of one modality, and its resamples."""
    n, m = made.modalities.count(modality), real.modalities.count(modality)
    return Sides(
        {name: made.of(modality, name) for name in made.intensities},
        {name: real.of(modality, name) for name in real.intensities},
        counts_of(n, resamples, seed, modality, "synthetic"),
        counts_of(m, resamples, seed, modality, "real"),
    )


def together(parts: Sequence[Sides]) -> Sides:
    """Return the scans of all parts as one set; each part is resampled for itself."""
    names = parts[0].made
    return Sides(
        {name: np.concatenate([part.made[name] for part in parts]) for name in names},
        {name: np.concatenate([part.real[name] for part in parts]) for name in names},
        np.concatenate([part.made_counts for part in parts], 1),
        np.concatenate([part.real_counts for part in parts], 1),
    )


def compared(sides: Sides) -> tuple[Distances, Draws]:
    """Return the distances by the first mapping of intensities, and resamples if scans suffice."""
    first = next(iter(sides.made))
    made, real = sides.made[first], sides.real[first]
    found = distances(made, real)
    if sides.fewest < FEWEST_RESAMPLED or not len(sides.made_counts):
        return found, Draws()
    return found, resampled(made, real, found, sides.made_counts, sides.real_counts)


def columns_of(sides: Sides, found: Distances, drawn: Draws) -> dict[str, Any]:
    """Return the columns that a comparison fills, and a note on those that it cannot.

    Args:
        sides: what is compared.
        found: its distances by the first mapping of intensities.
        drawn: their resamples.
    """
    _, *others = sides.made
    columns: dict[str, Any] = {
        **{"n_real": sides.real_counts.shape[1], "n_synthetic": sides.made_counts.shape[1]},
        **{"FID": found.fid, "MMD": found.mmd, "MMD fixed": found.mmd_fixed, "KID": found.kid},
        **ends(drawn),
    }
    for name in others:
        other = published_distances(sides.made[name], sides.real[name])
        columns |= {f"FID {name}": other.fid, f"MMD {name}": other.mmd}
    notes = []
    if sides.fewest < FEWEST:
        notes.append(f"FID, MMD and KID need {FEWEST} scans on each side")
    if sides.fewest < FEWEST_RESAMPLED:
        notes.append(f"intervals need {FEWEST_RESAMPLED}")
    return columns | {"note": "; ".join(notes)}


def ends(drawn: Draws) -> dict[str, object]:
    """Return the columns of the 95 % intervals."""
    (fid_low, fid_high), (mmd_low, mmd_high) = interval(drawn.fid), interval(drawn.mmd)
    return {"FID low": fid_low, "FID high": fid_high, "MMD low": mmd_low, "MMD high": mmd_high}


def weighted(draws: Sequence[Draws], counts: Sequence[int]) -> Draws:
    """Return the means of FID and MMD weighted by counts in each resample; none if one has none."""
    if not draws or not all(len(each.fid) for each in draws):
        return Draws()
    shares = np.array(counts) / sum(counts)
    fids, mmds = (np.array([getattr(each, name) for each in draws]) for name in ("fid", "mmd"))
    return Draws(shares @ fids, shares @ mmds)
