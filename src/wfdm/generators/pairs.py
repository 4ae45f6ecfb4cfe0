"""What a denoiser's flow is asked for, and the latents that it ends in: pairs, and endpoints."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from wfdm.data.metadata import load_schema
from wfdm.data.shards import in_shard, shard_path
from wfdm.data.table import MODALITY_IDS, rows_of, write_table
from wfdm.errors import UserError
from wfdm.generators.latent_diffusion import LatentDiffusion
from wfdm.generators.protocol import Request
from wfdm.latents.arrays import fill
from wfdm.seeds import generator_for
from wfdm.training.conditioned import Balanced


def draw_pairs(
    training: pd.DataFrame, count: int, balance: float, seed: int, name: str
) -> pd.DataFrame:
    """Draw what pairs are asked for: modality and metadata of training scans.

    Each is drawn by its own number, so that more pairs leave the first as they are.

    Args:
        training: scans of the training split that the denoiser knows.
        count: how many pairs.
        balance: rare modalities are drawn more often; see
            `wfdm.training.conditioned.balanced_weights`.
        seed: the study's.
        name: of the student.

    Returns:
        Columns name, scan_id, modality and the metadata fields.
    """
    scans = training.sort_values("scan_id")
    places = Balanced(scans["modality"].map(MODALITY_IDS).to_numpy(), balance)
    drawn = [places.draw(generator_for(seed, "pair", name, number)) for number in range(count)]
    asked = scans.iloc[drawn][["scan_id", "modality", *load_schema().names]]
    asked.insert(0, "name", [f"{name}-pair-{number:06d}" for number in range(count)])
    return asked.reset_index(drop=True)


def write_pairs(
    teacher: LatentDiffusion,
    asked: pd.DataFrame,
    seed: int,
    shard: int,
    shards: int,
    out: Path,
    identity: str,
) -> None:
    """Write one shard of pairs into OUT/shard-NNNN-of-MMMM.npy and .tsv; see `wfdm.latents.pairs`.

    What a killed run has made under the same `identity` is kept.

    Args:
        teacher: with the sampler that carries noise to latents.
        asked: as `draw_pairs` returns.
        seed: the study's.
        shard: which part, from 0.
        shards: number of parts.
        out: folder of the pairs.
        identity: of settings, inputs and code.

    Raises:
        UserError: a latent does not fit half precision.
    """
    mine = asked.set_index("name", drop=False).loc[in_shard(asked["name"], shard, shards)]
    requests = dict(zip(mine["name"], requests_of(mine), strict=True))

    def work(names: list[str]) -> np.ndarray:
        ends = teacher.denoise([requests[name] for name in names], seed).half().cpu().numpy()
        if not np.isfinite(ends).all():
            raise UserError(
                f"{names[0]}: the end of its path does not fit half precision: train "
                f"{teacher.name} longer, or carry noise by more steps"
            )
        return ends

    path = shard_path(out, shard, shards, ".npy")
    fill(path, list(requests), work, identity, f"pairs of shard {shard}", teacher.sampling.batch)
    table = mine.reset_index(drop=True)
    table.insert(1, "row", range(len(table)))
    write_table(table, shard_path(out, shard, shards, ".tsv"))


def requests_of(asked: pd.DataFrame) -> list[Request]:
    """Return a request for each row, by its name."""
    fields = load_schema().names
    return [
        Request(row["name"], row["modality"], {field: row[field] for field in fields})
        for row in rows_of(asked)
    ]


def endpoints(
    generator: LatentDiffusion, requests: Sequence[Request], seed: int, draws: int
) -> dict[str, Tensor]:
    """Return the scaled latents (draws, C, d, h, w) of each request, by its name, on the CPU.

    The first draw starts from the noise of the request's own sample, each further one from another.
    """
    size, found = generator.sampling.batch, []
    for number in range(draws):
        asked = [
            Request(f"{each.name} {number}" if number else each.name, each.modality, each.metadata)
            for each in requests
        ]
        batches = (asked[first : first + size] for first in range(0, len(asked), size))
        found.append(torch.cat([generator.denoise(batch, seed).cpu() for batch in batches]))
    ends = torch.stack(found, 1)
    return {each.name: ends[place] for place, each in enumerate(requests)}
