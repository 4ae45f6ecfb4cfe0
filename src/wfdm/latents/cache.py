"""The latent cache: every scan's posterior, in half precision, in memory-mapped shards.

`shard-0000-of-0064.npy` is a float16 array (n, 2, C, d, h, w), posterior mean and standard
deviation, and `shard-0000-of-0064.tsv` (scan_id, row) its key. `index.tsv` (scan_id, shard, row)
joins the shards; `scale.json` describes the latent space. Nothing here holds the cohort in memory.
"""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.atomic import write_text
from wfdm.data.shards import shard_name, shard_path
from wfdm.data.table import read_table, write_table
from wfdm.errors import UserError
from wfdm.latents.space import LatentSpace, read_space
from wfdm.provenance.digests import sha256_of


def merge(
    folder: Path,
    shards: int,
    splits: pd.DataFrame,
    compressor: Path,
    volume_shape: tuple[int, int, int],
    spacing: float,
) -> LatentSpace:
    """Join the shards: write index.tsv and scale.json, and return what the latter holds.

    Args:
        folder: holds every shard of `encode_shard`.
        shards: number of parts.
        splits: scan_id and split of each scan.
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
    split_of = dict(zip(splits["scan_id"], splits["split"], strict=True))
    training = index[index["scan_id"].map(split_of) == "train"]
    if training.empty:
        raise UserError(f"{folder}: no latent belongs to the training split: encode its scans")
    scale, shape = _scale(folder, training)
    space = LatentSpace(
        scale, shape, volume_shape, spacing, str(compressor),
        sha256_of(compressor / "model.safetensors"),
    )  # fmt: skip
    write_table(index, folder / "index.tsv")
    write_text(folder / "scale.json", json.dumps(space.as_dict(folder), indent=1) + "\n")
    return space


def _scale(folder: Path, training: pd.DataFrame) -> tuple[float, tuple[int, int, int, int]]:
    """Return s_z = 1 / RMS of the means (2.5.3), summed in float64, and the latent's shape.

    The RMS is about zero, as in the authors' export: no mean is subtracted before diffusion, so
    this is what gives the scaled latent a unit second moment, as the noise has.
    """
    squares, count = [], 0
    for shard, rows in training.groupby("shard")["row"]:
        array = _open(folder, str(shard))
        for row in rows.astype(int).sort_values():
            squares.append(float(np.sum(np.square(array[row, 0], dtype=np.float64))))
            count += array[row, 0].size
    total = math.fsum(squares)  # exact: the order of scans and shards does not matter
    if not total > 0:
        raise UserError(f"{folder}: every latent is zero: the compressor has not learned anything")
    return 1 / math.sqrt(total / count), array.shape[2:]


def _open(folder: Path, shard: str) -> np.ndarray:
    """Map a shard's array."""
    path = folder / f"{shard}.npy"
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: missing, cut short or damaged ({error}): remove it, and index.tsv beside it, "
            "and run again"
        ) from None


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

    def scaled_mean(self, scan_id: str) -> np.ndarray:
        """Return z_0 = s_z * posterior mean, float32 (C, d, h, w) (paper, 2.5.3)."""
        shard, row = self.places[scan_id]
        array = _open(self.folder, shard)
        return array[row, 0].astype(np.float32) * np.float32(self.space.scale)
