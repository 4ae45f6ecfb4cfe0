"""The latent cache: every scan's posterior, in half precision, in memory-mapped shards.

`shard-0000-of-0064.npy` is a float16 array (n, 2, C, d, h, w), posterior mean and standard
deviation, and `shard-0000-of-0064.tsv` (scan_id, row) its key. `index.tsv` (scan_id, shard, row)
joins the shards; `scale.json` describes the latent space, `moments.safetensors` the training split.
Nothing here holds the cohort in memory.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.atomic import write_text
from wfdm.data.shards import shard_name, shard_path
from wfdm.data.table import read_table, write_table
from wfdm.errors import UserError
from wfdm.latents.arrays import mapped
from wfdm.latents.moments import moments
from wfdm.latents.space import LatentSpace, read_space
from wfdm.provenance.digests import sha256_of


def merge(
    folder: Path,
    shards: int,
    scans: pd.DataFrame,
    compressor: Path,
    volume_shape: tuple[int, int, int],
    spacing: float,
) -> LatentSpace:
    """Join the shards: write index.tsv, scale.json and moments; return what scale.json holds.

    Args:
        folder: holds every shard of `encode_shard`.
        shards: number of parts.
        scans: scan_id, modality and split of each scan.
        compressor: folder of the compressor that encoded.
        volume_shape: voxels of a decoded volume.
        spacing: of the volumes, in mm.

    Raises:
        UserError: no training scan, or latents that are all zero.
    """
    tables = [
        read_table(shard_path(folder, shard, shards, ".tsv")).assign(
            shard=shard_name(shard, shards)
        )
        for shard in range(shards)
    ]
    index = pd.concat(tables)[["scan_id", "shard", "row"]].sort_values("scan_id")
    known = scans.set_index("scan_id")
    training = index[index["scan_id"].map(known["split"]) == "train"]
    if training.empty:
        raise UserError(f"{folder}: no latent belongs to the training split: encode its scans")
    modality = training["scan_id"].map(known["modality"])
    first = _open(folder, str(training["shard"].iloc[0]))
    squares: list[float] = []
    found = moments(_means(folder, training.assign(modality=modality), squares), first.shape[2:])
    space = LatentSpace(
        _scale(folder, squares, found.within.size), first.shape[2:], volume_shape, spacing,
        str(compressor), sha256_of(compressor / "model.safetensors"),
    )  # fmt: skip
    found.write(folder)
    write_table(index, folder / "index.tsv")
    write_text(folder / "scale.json", json.dumps(space.as_dict(folder), indent=1) + "\n")
    return space


def _means(
    folder: Path, rows: pd.DataFrame, squares: list[float]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield modality and posterior mean of each row, and add the sum of its squares."""
    arrays = {shard: _open(folder, shard) for shard in rows["shard"].unique()}
    for shard, row, modality in zip(rows["shard"], rows["row"], rows["modality"], strict=True):
        mean = arrays[shard][int(row), 0]
        squares.append(float(np.sum(np.square(mean, dtype=np.float64))))
        yield modality, mean


def _scale(folder: Path, squares: list[float], numbers: int) -> float:
    """Return s_z = 1 / RMS of the means (2.5.3), whose sums of squares are given.

    The RMS is about zero, as in the authors' export: no mean is subtracted before diffusion, so
    this is what gives the scaled latent a unit second moment, as the noise has.
    """
    total = math.fsum(squares)  # exact: the order of scans and shards does not matter
    if not total > 0:
        raise UserError(f"{folder}: every latent is zero: the compressor has not learned anything")
    return 1 / math.sqrt(total / (len(squares) * numbers))


def _open(folder: Path, shard: str) -> np.ndarray:
    """Map a shard's array."""
    return mapped(folder / f"{shard}.npy")


class Latents:
    """Read single latents from the shards; holds only the index, so workers share nothing.

    Args:
        folder: a folder with index.tsv and scale.json.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.space = read_space(folder)
        index = read_table(self.folder / "index.tsv")
        places = zip(index["shard"], index["row"].astype(int), strict=True)
        self.places = dict(zip(index["scan_id"], places, strict=True))

    def __contains__(self, scan_id: str) -> bool:
        """Whether the scan has been encoded."""
        return scan_id in self.places

    def scaled(self, scan_id: str) -> np.ndarray:
        """Return s_z times the posterior's mean and deviation, float32 (2, C, d, h, w) (2.5.3)."""
        shard, row = self.places[scan_id]
        array = _open(self.folder, shard)
        return array[row].astype(np.float32) * np.float32(self.space.scale)

    def scaled_mean(self, scan_id: str) -> np.ndarray:
        """Return z_0 = s_z * posterior mean, float32 (C, d, h, w) (paper, 2.5.3)."""
        return self.scaled(scan_id)[0]
