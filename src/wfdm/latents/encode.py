"""Encoding: the posterior of every scan of a shard, kept as it is made."""

import io
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wfdm.atomic import atomic_path, named
from wfdm.config.volumes import VolumeSettings
from wfdm.data.shards import each_once, forget, in_shard, shard_path
from wfdm.data.table import rows_of, write_table
from wfdm.data.volumes import load_scan
from wfdm.errors import UserError
from wfdm.models.compressors.base import Compressor
from wfdm.models.compressors.registry import load


def encode_shard(
    compressor: Path,
    volumes: pd.DataFrame,
    shard: int,
    shards: int,
    settings: VolumeSettings,
    out: Path,
    identity: str,
    device: torch.device | str = "cpu",
) -> None:
    """Encode the scans of one shard into OUT/shard-NNNN-of-MMMM.npy and .tsv.

    What a killed run has encoded under the same `identity` is kept.

    Args:
        compressor: folder of the trained compressor.
        volumes: all preprocessed volumes: scan_id, path; of samples also range (`load_scan`).
        shard: which part, from 0.
        shards: number of parts.
        settings: the volume that the compressor sees.
        out: folder of the latents.
        identity: of settings, inputs and code.
        device: where the compressor works.

    Raises:
        UserError: unreadable volume, or latents outside half precision.
    """
    model = load(compressor).to(device)
    scans = {row["scan_id"]: row for row in rows_of(volumes)}
    scan_ids = in_shard(scans, shard, shards)
    rows = {scan_id: row for row, scan_id in enumerate(scan_ids)}
    made = shard_path(out, shard, shards, ".npy")
    partial = made.with_name(f".partial-{made.name}")
    if not partial.is_file():
        forget(made)

    def work(scan_id: str) -> None:
        volume = torch.from_numpy(load_scan(scans[scan_id], settings))
        latent = _posterior(model, volume[None].to(device), scan_id)
        start = _start(partial, (len(rows), *latent.shape))
        # Not through a map: there a full disk would crash the process, here it is an error.
        with named(made), open(partial, "r+b") as stream:
            stream.seek(start + rows[scan_id] * latent.nbytes)
            stream.write(latent.tobytes())

    for _ in each_once(scan_ids, work, made, identity, f"encode shard {shard}"):
        pass
    if not scan_ids:  # fewer scans than shards
        _start(partial, (0,))
    partial.replace(made)
    table = pd.DataFrame({"scan_id": scan_ids, "row": range(len(scan_ids))})
    write_table(table, shard_path(out, shard, shards, ".tsv"))


def _start(path: Path, shape: tuple[int, ...]) -> int:
    """Return where the numbers of the shard's array begin; it is made, sparse, by the first one."""
    header = io.BytesIO()
    about = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, about)
    start = header.tell()
    whole = start + 2 * math.prod(shape)
    if not path.is_file() or path.stat().st_size != whole:
        with atomic_path(path) as temporary:
            temporary.write_bytes(header.getvalue())
            os.truncate(temporary, whole)
    return start


@torch.no_grad()
def _posterior(model: Compressor, volume: torch.Tensor, scan_id: str) -> np.ndarray:
    """Return posterior mean and standard deviation of one volume, float16 (2, C, d, h, w)."""
    latent = torch.cat(model.encode(volume)).half().cpu().numpy()
    if not np.isfinite(latent).all():
        raise UserError(
            f"{scan_id}: its latent does not fit half precision: train the compressor longer or "
            "with a larger kl_weight"
        )
    return latent
