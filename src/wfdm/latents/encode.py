"""Encoding: the posterior of every scan of a shard, kept as it is made."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wfdm.config.volumes import VolumeSettings
from wfdm.data.shards import in_shard, shard_path
from wfdm.data.table import rows_of, write_table
from wfdm.data.volumes import load_scan
from wfdm.errors import UserError
from wfdm.latents.arrays import fill
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

    def work(scan_ids: list[str]) -> np.ndarray:
        (scan_id,) = scan_ids
        volume = torch.from_numpy(load_scan(scans[scan_id], settings))
        return _posterior(model, volume[None].to(device), scan_id)[None]

    made = shard_path(out, shard, shards, ".npy")
    fill(made, scan_ids, work, identity, f"encode shard {shard}")
    table = pd.DataFrame({"scan_id": scan_ids, "row": range(len(scan_ids))})
    write_table(table, shard_path(out, shard, shards, ".tsv"))


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
