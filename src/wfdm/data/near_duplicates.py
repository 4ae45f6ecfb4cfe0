"""Near-duplicates among preprocessed volumes: pairs of scans of two people that look like one's.

A perceptual hash in 3D. A volume's lowest cosine coefficients (Zauner's pHash, in three
dimensions) describe its shape down to about 4 cm; a bit says whether a coefficient is above
the median of that coefficient over all scans of the modality, so that what all brains on the
atlas have in common does not count. Two people differ in about half of the bits, two scans of one
person in few.
"""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.fft import dctn

from wfdm.atomic import atomic_path
from wfdm.config.volumes import VolumeSettings
from wfdm.data.shards import in_shard
from wfdm.data.table import read_table, write_table
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError, damaged

COEFFICIENTS = 10  # per axis
FEWEST = 20  # scans of a modality: with fewer, their medians mean nothing
_ROWS = 256  # compared with all others at a time: some 100 MB for 31,000 scans


def coefficients_of(path: Path | str, settings: VolumeSettings) -> np.ndarray:
    """Return a volume's lowest 10 x 10 x 10 cosine coefficients but the mean: (999,) float32."""
    volume = load_standardised(path, settings)[0]
    lowest = dctn(volume, norm="ortho")[(slice(COEFFICIENTS),) * 3]
    return lowest.ravel()[1:].astype(np.float32)


def describe_shard(
    volumes: pd.DataFrame, shard: int, shards: int, settings: VolumeSettings, out: Path
) -> int:
    """Write the coefficients of a shard's volumes to `out` (.npy) and their keys beside (.tsv).

    Returns how many there are.
    """
    mine = in_shard(volumes["scan_id"], shard, shards)
    part = volumes.set_index("scan_id", drop=False).loc[mine]
    found = [coefficients_of(path, settings) for path in part["path"]]
    width = COEFFICIENTS**3 - 1
    write_table(part[["scan_id", "modality", "sha256"]], out.with_suffix(".tsv"))
    content = io.BytesIO()  # NumPy's own error about a full disk does not say so
    np.save(content, np.array(found, np.float32).reshape(len(found), width))
    with atomic_path(out) as temporary:
        temporary.write_bytes(content.getbuffer())
    return len(found)


def read_shards(paths: list[Path]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the keys and coefficients of all shards, row by row."""
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: is missing: make the image hashes of this shard first")
    keys = pd.concat([read_table(path.with_suffix(".tsv")) for path in paths], ignore_index=True)
    coefficients = np.concatenate([_read(path) for path in paths])
    if len(keys) != len(coefficients):
        raise UserError(f"{paths[0].parent}: hashes and keys differ in number: make both again")
    return keys, coefficients


def _read(path: Path) -> np.ndarray:
    try:
        return np.load(path)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None


def find_pairs(
    keys: pd.DataFrame, coefficients: np.ndarray, persons: dict[str, str], distance: float
) -> tuple[pd.DataFrame, list[str]]:
    """Return pairs of scans of one modality and two people that differ in few bits.

    Args:
        keys: scan_id, modality, sha256 of each row.
        coefficients: (n, 999) from `coefficients_of`.
        persons: person of each scan_id.
        distance: largest share of differing bits.

    Returns:
        A table scan_a, scan_b, person_a, person_b, modality, distance ("identical" files are 0),
        nearest first; and a line for each modality with too few scans, of which only identical
        files are found.
    """
    rows, notes = [], []
    for modality, part in keys.groupby("modality", sort=True):
        ordered = part.sort_values("scan_id")
        values = coefficients[ordered.index.to_numpy()]
        if len(ordered) < FEWEST:
            notes.append(f"{modality}: {len(ordered)} scans, fewer than {FEWEST}: not compared")
            found = _identical(list(ordered["sha256"]))
        else:
            found = _near(values > np.median(values, axis=0), distance)
        names = list(ordered["scan_id"])
        for a, b, share in found:
            people = persons[names[a]], persons[names[b]]
            if people[0] != people[1]:
                rows.append((names[a], names[b], *people, str(modality), f"{share:.3f}"))
    columns = ["scan_a", "scan_b", "person_a", "person_b", "modality", "distance"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["distance", "scan_a", "scan_b"], ignore_index=True), notes


def _identical(digests: list[str]) -> list[tuple[int, int, float]]:
    count = len(digests)
    pairs = ((a, b) for a in range(count) for b in range(a + 1, count))
    return [(a, b, 0.0) for a, b in pairs if digests[a] == digests[b]]


def _near(bits: np.ndarray, distance: float) -> list[tuple[int, int, float]]:
    """Return (a, b, share of differing bits) of the pairs a < b within `distance`."""
    count, width = bits.shape
    packed = np.packbits(bits, axis=1)
    packed = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)
    found = []
    for start in range(0, count, _ROWS):
        block = packed[start : start + _ROWS]
        differing = np.zeros((len(block), count - start), np.uint16)
        for word in range(packed.shape[1]):  # word by word: memory for one, not for all
            differing += np.bitwise_count(block[:, word, None] ^ packed[None, start:, word])
        for a, b in zip(*np.nonzero(differing <= distance * width), strict=True):
            if b > a:
                found.append((start + int(a), start + int(b), differing[a, b] / width))
    return found
