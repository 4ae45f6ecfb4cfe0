"""The scans of a pack on the device, and how training volumes are drawn from them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.gpu.open_study.pack import Pack
from wfdm.models.denoisers.conditions import Conditions

SHIFT = 2  # voxels, most that a training volume is moved along each axis


@dataclass(frozen=True)
class Data:
    """All scans on the device.

    Attributes:
        volumes: (n, 1, R, A, S) uint8.
        conditions: modality and metadata of each.
        split: name to row numbers.
        scan_ids: of the rows.
        persons: of the rows.
    """

    volumes: Tensor
    conditions: Conditions
    split: dict[str, Tensor]
    scan_ids: list[str]
    persons: list[str]

    @property
    def device(self) -> torch.device:
        """Where the data lie."""
        return self.volumes.device

    @property
    def modalities(self) -> Tensor:
        """Places in MODALITIES, (n,) int64."""
        return self.conditions.modality

    def real(self, rows: Tensor) -> Tensor:
        """Return volumes (n, 1, R, A, S) in [0, 1]."""
        return self.volumes[rows].float() / 255

    def held_out(self) -> Tensor:
        """Return the rows of validation and test."""
        return torch.cat((self.split["validation"], self.split["test"]))


def load(pack: Pack, device: torch.device, reduced: bool) -> Data:
    """Put a pack on the device; `reduced` halves the resolution and pads to multiples of 16."""
    volumes = torch.from_numpy(pack.volumes)[:, None]
    if reduced:
        small = [functional.avg_pool3d(v[None].float(), 2)[0] for v in volumes]
        sides = [-side % 16 for side in small[0].shape[1:]]
        pads = [n for side in reversed(sides) for n in (side // 2, side - side // 2)]
        volumes = torch.stack([functional.pad(v, pads).round().byte() for v in small])
    split = {
        name: torch.from_numpy(np.flatnonzero(pack.splits == name)).to(device)
        for name in ("train", "validation", "test")
    }
    conditions = Conditions(
        torch.from_numpy(pack.modalities),
        torch.from_numpy(pack.values).float(),
        torch.from_numpy(pack.mask).float(),
    )
    return Data(volumes.to(device), conditions.to(device), split, pack.scan_ids, pack.persons)


def draw_weights(modalities: Tensor, balance: float) -> Tensor:
    """Return each scan's chance: 1 / count(modality) ** balance, as `BalancedDraws` has it."""
    return 1 / torch.bincount(modalities)[modalities].float() ** balance


def shifted(volume: Tensor, offsets: tuple[int, ...], flip: bool) -> Tensor:
    """Return volumes (..., R, A, S) mirrored left to right and moved by whole voxels.

    What leaves the field on one side comes in on the other: the borders are empty.
    """
    volume = volume.flip(-3) if flip else volume
    return volume.roll(offsets, (-3, -2, -1))


def batch_of(data: Data, chances: Tensor, size: int, draw: torch.Generator) -> Tensor:
    """Draw training volumes, each mirrored or not and moved a little."""
    rows = torch.multinomial(chances, size, replacement=True, generator=draw)
    moves = torch.randint(-SHIFT, SHIFT + 1, (size, 3), generator=draw).tolist()
    flips = torch.randint(2, (size,), generator=draw).tolist()
    picked = data.volumes[data.split["train"][rows.to(data.device)]]
    parts = [
        shifted(volume, tuple(move), bool(flip))
        for volume, move, flip in zip(picked, moves, flips, strict=True)
    ]
    return torch.stack(parts).float() / 255
