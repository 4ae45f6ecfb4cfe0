"""The latent cache: every scan's posterior, in half precision, in memory-mapped shards.

`shard-0000.npy` is a float16 array (n, 2, C, d, h, w), posterior mean and standard deviation, and
`shard-0000.tsv` (scan_id, row) its key. `index.tsv` (scan_id, shard, row) joins the shards;
`scale.json` describes the latent space. Nothing here holds the cohort in memory.
"""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch

from wfdm.atomic import atomic_path, write_text
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import read_table, write_table
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError
from wfdm.models.compressor import Compressor
from wfdm.models.registry import load
from wfdm.provenance.records import sha256_of
from wfdm.training.progress import Ticker

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LatentSpace:
    """What scale.json tells about a compressor's latents.

    Attributes:
        scale: s_z = 1 / RMS of the posterior mean over the training split (paper, 2.5.3).
        shape: (C, d, h, w) of a latent.
        volume_shape: voxels of the volume that a latent decodes to.
        spacing: of that volume, in mm.
        compressor: folder of the compressor.
        compressor_sha256: of its model.safetensors.
    """

    scale: float
    shape: tuple[int, int, int, int]
    volume_shape: tuple[int, int, int]
    spacing: float
    compressor: str
    compressor_sha256: str

    def as_dict(self, folder: Path) -> dict:
        """Return the values for a JSON file in `folder`; the compressor's path relative to it."""
        relative = os.path.relpath(self.compressor, folder)
        return asdict(replace(self, compressor=relative))

    @classmethod
    def from_dict(cls, content: dict, folder: Path) -> "LatentSpace":
        """Rebuild what `as_dict` returned for a file in `folder`."""
        sizes = {key: tuple(content[key]) for key in ("shape", "volume_shape")}
        path = os.path.normpath(folder / content["compressor"])
        return cls(**{**content, **sizes, "compressor": path})

    def load_compressor(self) -> Compressor:
        """Load the compressor. Raises UserError if it is not the one of these latents."""
        weights = Path(self.compressor) / "model.safetensors"
        if not weights.exists() or sha256_of(weights) != self.compressor_sha256:
            raise UserError(
                f"{weights}: is missing or is not the compressor that made the latents: "
                "put it back, or encode and train the generator again"
            )
        return load(self.compressor)


def read_space(folder: Path | str) -> LatentSpace:
    """Read scale.json of a folder of latents."""
    path = Path(folder) / "scale.json"
    if not path.exists():
        raise UserError(f"{path}: is missing: encode the scans first")
    return LatentSpace.from_dict(json.loads(path.read_text(encoding="utf-8")), Path(folder))


def in_shard(scan_ids: Iterable[str], shard: int, shards: int) -> list[str]:
    """Return the scans of one shard: rank among the sorted keys, modulo `shards`."""
    if not 0 <= shard < shards:
        raise UserError(f"shard {shard}: there are {shards}, counted from 0")
    return sorted(scan_ids)[shard::shards]


def shard_path(folder: Path, shard: int, suffix: str) -> Path:
    """Return the path of one shard's file, e.g. FOLDER/shard-0000.npy."""
    return folder / f"shard-{shard:04d}{suffix}"


def encode_shard(
    compressor: Path,
    volumes: pd.DataFrame,
    shard: int,
    shards: int,
    settings: VolumeSettings,
    out: Path,
    threads: int,
) -> None:
    """Encode the scans of one shard into OUT/shard-NNNN.npy and .tsv.

    Args:
        compressor: folder of the trained compressor.
        volumes: all preprocessed volumes: scan_id, path.
        shard: which part, from 0.
        shards: number of parts.
        settings: the volume that the compressor sees.
        out: folder of the latents.
        threads: CPU threads, where there is no GPU.

    Raises:
        UserError: unreadable volume, or latents outside half precision.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load(compressor).to(device)
    paths = dict(zip(volumes["scan_id"], volumes["path"], strict=True))
    scan_ids = in_shard(paths, shard, shards)
    with atomic_path(shard_path(out, shard, ".npy")) as temporary:
        if not scan_ids:  # fewer scans than shards
            np.save(temporary, np.zeros(0, np.float16))
        array: np.memmap | None = None
        ticker = Ticker(f"encode shard {shard}", len(scan_ids), 0)
        for row, scan_id in enumerate(scan_ids):
            volume = load_standardised(paths[scan_id], settings)
            latent = _encode(model, torch.from_numpy(volume)[None].to(device), scan_id)
            if array is None:
                array = np.lib.format.open_memmap(
                    temporary, "w+", np.float16, (len(scan_ids), *latent.shape)
                )
            array[row] = latent
            ticker.tick(row + 1, {})
        if array is not None:
            array.flush()
    table = pd.DataFrame({"scan_id": scan_ids, "row": range(len(scan_ids))})
    write_table(table, shard_path(out, shard, ".tsv"))


@torch.no_grad()
def _encode(model: Compressor, volume: torch.Tensor, scan_id: str) -> np.ndarray:
    """Return posterior mean and standard deviation of one volume, float16 (2, C, d, h, w)."""
    latent = torch.cat(model.encode(volume)).half().cpu().numpy()
    if not np.isfinite(latent).all():
        raise UserError(
            f"{scan_id}: its latent does not fit half precision: train the compressor longer or "
            "with a larger kl_weight"
        )
    return latent


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
        read_table(shard_path(folder, shard, ".tsv")).assign(shard=str(shard))
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
    total, count = 0.0, 0
    for shard, rows in training.groupby(training["shard"].astype(int))["row"]:
        array = np.load(shard_path(folder, cast(int, shard), ".npy"), mmap_mode="r")
        for row in rows.astype(int).sort_values():
            total += float(np.sum(np.square(array[row, 0], dtype=np.float64)))
            count += array[row, 0].size
    if not total > 0:
        raise UserError(f"{folder}: every latent is zero: the compressor has not learned anything")
    return 1 / math.sqrt(total / count), array.shape[2:]


class Latents:
    """Read single latents from the shards; holds only the index, so workers share nothing.

    Args:
        folder: a folder with index.tsv and scale.json.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.space = read_space(folder)
        index = read_table(self.folder / "index.tsv")
        places = zip(index["shard"].astype(int), index["row"].astype(int), strict=True)
        self.places = dict(zip(index["scan_id"], places, strict=True))

    def __contains__(self, scan_id: str) -> bool:
        """Whether the scan has been encoded."""
        return scan_id in self.places

    def scaled_mean(self, scan_id: str) -> np.ndarray:
        """Return z_0 = s_z * posterior mean, float32 (C, d, h, w) (paper, 2.5.3)."""
        shard, row = self.places[scan_id]
        array = np.load(shard_path(self.folder, shard, ".npy"), mmap_mode="r")
        return array[row, 0].astype(np.float32) * np.float32(self.space.scale)
