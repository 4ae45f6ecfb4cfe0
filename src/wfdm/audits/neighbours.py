"""The nearest training scan of each query, in latents, features and aligned volumes.

Distances are root mean squares of differences d = a - b:

    latent    over all numbers of scaled posterior means, each divided by the training split's
              deviation there (`latents.standard`, standardised)
    feature   over the features that FID takes
    image     over the voxels where either volume is above 0, of means of cubes

Training scans are read once, whatever the number of queries; the queries of one modality are held.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wfdm.audits.memorisation import IMAGE, NEIGHBOURS, relative_distance
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import read_table, rows_of
from wfdm.data.volumes import load_scan
from wfdm.errors import UserError
from wfdm.evaluation.features import read_features
from wfdm.latents.cache import Latents
from wfdm.latents.moments import Moments
from wfdm.latents.standard import Standard
from wfdm.log import progress

BLOCK = 64
"""training scans that are held at a time, and queries in double precision"""

Vectors = Callable[[dict[str, Any]], np.ndarray]
"""From a row of a table of scans or samples to the numbers that are compared, one axis."""


@dataclass(frozen=True)
class Compared:
    """What is compared in one space: numbers of a query, numbers of a training scan."""

    query: Vectors
    training: Vectors


def nearest(
    queries: pd.DataFrame, training: pd.DataFrame, compared: dict[str, Compared]
) -> pd.DataFrame:
    """Return the nearest training scan of its modality for each query and space.

    Args:
        queries: scan_id, modality, split ("" of samples), and what `compared` reads.
        training: scan_id, modality, person, and what `compared` reads.
        compared: by space.

    Returns:
        NEIGHBOURS; a query of a modality without training scans has no row.
    """
    rows = []
    for modality in dict.fromkeys(queries["modality"]):
        asking = rows_of(queries[queries["modality"] == modality])
        answering = rows_of(training[training["modality"] == modality])
        if not answering:
            continue
        people = [row["person"] for row in answering]
        for space, vectors in compared.items():
            found = _distances(asking, answering, space, vectors, f"{modality}, {space}")
            for row, distances in zip(asking, found, strict=True):
                place, distance, relative = relative_distance(distances, people)
                told = (row["split"], space, answering[place]["scan_id"], distance, relative)
                rows.append((row["scan_id"], modality, *told))
    return pd.DataFrame(rows, columns=[*NEIGHBOURS])


def _distances(
    asking: list[dict[str, Any]],
    answering: list[dict[str, Any]],
    space: str,
    vectors: Compared,
    what: str,
) -> np.ndarray:
    """Return the distance of each query to each training scan, (n, m)."""
    queries = _held(vectors.query, asking)
    starts = range(0, len(answering), BLOCK)
    found = []
    for start in progress(starts, f"neighbours, {what}", len(starts)):
        others = np.stack([vectors.training(row) for row in answering[start : start + BLOCK]])
        found.append(rms(queries, others, inside=space == IMAGE))
    return np.concatenate(found, axis=1)


def _held(vectors: Vectors, rows: list[dict[str, Any]]) -> np.ndarray:
    """Return the numbers of each row, float32 (n, d).

    At the study's size they are 11 GB: never are there two copies of them.
    """
    first = vectors(rows[0])
    held = np.empty((len(rows), len(first)), np.float32)
    for place, row in enumerate(rows):
        held[place] = vectors(row) if place else first
    return held


def rms(first: np.ndarray, second: np.ndarray, inside: bool = False) -> np.ndarray:
    """Return the root mean square difference of each row of (n, d) and each of (m, d), (n, m).

    With |a - b|^2 = |a|^2 + |b|^2 - 2 a.b in double precision: of float32 numbers the error is
    below 1e-7 of their size, also between copies.

    Args:
        first: float32 (n, d).
        second: float32 (m, d).
        inside: take the mean over the numbers of which either is above 0, where there is one; those
            below 0 there are none.
    """
    b = second.astype(np.float64)
    starts = range(0, len(first), BLOCK)
    return np.concatenate([_rms(first[each : each + BLOCK], second, b, inside) for each in starts])


def _rms(first: np.ndarray, second: np.ndarray, b: np.ndarray, inside: bool) -> np.ndarray:
    """Return the distances of a block of rows; `b` is `second` in double precision."""
    a = first.astype(np.float64)
    squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * a @ b.T
    over: np.ndarray | int = first.shape[1]
    if inside:
        mine, theirs = (first > 0).astype(np.float32), (second > 0).astype(np.float32)
        both = mine @ theirs.T
        over = np.maximum(mine.sum(1)[:, None] + theirs.sum(1)[None] - both, 1)
    return np.sqrt(np.maximum(squares, 0) / over)


def latents_of(folder: Path, encoded: list[Path]) -> Compared:
    """Return how latents are compared.

    Args:
        folder: the latent cache, which holds all real scans.
        encoded: shards of `encode` (.npy) that hold the queries; none: the cache does.
    """
    cache = Latents(folder)
    standard = Standard.of("standardised", Moments.read(folder), cache.space.scale)
    deviation = standard.deviation[0].numpy()
    places = dict(_places(encoded))

    def cached(row: dict[str, Any]) -> np.ndarray:
        return (cache.scaled_mean(row["scan_id"]) / deviation).ravel()

    def own(row: dict[str, Any]) -> np.ndarray:
        array, place = places[row["scan_id"]]
        scaled = array[place, 0].astype(np.float32) * np.float32(cache.space.scale)
        return (scaled / deviation).ravel()

    return Compared(own if encoded else cached, cached)


def _places(shards: list[Path]) -> Iterator[tuple[str, tuple[np.ndarray, int]]]:
    for path in shards:
        keys = read_table(path.with_suffix(".tsv"))
        array = np.load(path, mmap_mode="r")
        for scan_id, place in zip(keys["scan_id"], keys["row"].astype(int), strict=True):
            yield scan_id, (array, place)


def features_of(queries: list[Path], training: list[Path]) -> Compared:
    """Return how features are compared, given the files of both.

    Raises:
        UserError: they are of two networks.
    """
    mine, theirs = read_features(queries), read_features(training)
    if mine.source != theirs.source:
        raise UserError(
            f"{queries[0]}: features by {mine.source}, but {training[0]} has {theirs.source}; "
            "extract them again"
        )

    def of(features: Any) -> Vectors:
        values = features.values[features.intensities[0]]
        rows = dict(zip(features.scan_ids, values, strict=True))
        return lambda row: rows[row["scan_id"]]

    return Compared(of(mine), of(theirs))


def volumes_of(settings: VolumeSettings, pool: int) -> Compared:
    """Return how volumes are compared: as means of cubes of `pool` voxels a side."""

    def pooled(row: dict[str, Any]) -> np.ndarray:
        return cubes(load_scan(row, settings)[0], pool).ravel()

    return Compared(pooled, pooled)


def cubes(volume: np.ndarray, side: int) -> np.ndarray:
    """Return the means of the cubes of so many voxels a side that fit into a volume."""
    counts = [size // side for size in volume.shape]
    cut = volume[tuple(slice(count * side) for count in counts)]
    x, y, z = counts
    return cut.reshape(x, side, y, side, z, side).mean((1, 3, 5))
