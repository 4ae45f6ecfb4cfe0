"""What compressors with a codebook share: the search for the nearest code, authors' names."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

CHUNK = 8192  # latent voxels compared with the codebook at once: 256 MB for 8192 codes
Parts = Sequence[tuple[str, nn.Module]]
"""layers in order, each with the name that its authors gave it"""


def nearest(z: Tensor, codes: Tensor) -> Tensor:
    """Return the index of the nearest code of every latent voxel, (B, d, h, w).

    In parts: all at once would hold a matrix of voxels by codes.

    Args:
        z: (B, C, d, h, w).
        codes: (n, C).
    """
    voxels = z.movedim(1, -1)
    parts = voxels.reshape(-1, z.shape[1]).float().split(CHUNK)
    found = torch.cat([torch.cdist(part, codes.float()).argmin(1) for part in parts])
    return found.view(voxels.shape[:-1])


def looked_up(indices: Tensor, codes: Tensor) -> Tensor:
    """Return the codes (B, C, d, h, w) of indices (B, d, h, w)."""
    return codes[indices].movedim(-1, 1)


def sequence(parts: Parts) -> tuple[nn.Sequential, list[str]]:
    """Return the layers of `parts`, one after the other, and the authors' names of them."""
    return nn.Sequential(*(layer for _, layer in parts)), [name for name, _ in parts]


def names_of(
    part: str, layers: nn.Sequential, names: Sequence[str], inner: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield our name and the authors' name of each weight of a sequence.

    Args:
        part: our name of the sequence.
        layers: the sequence.
        names: the authors' name of each layer.
        inner: our names inside a layer to theirs, where they differ.
    """
    for place, (layer, theirs) in enumerate(zip(layers, names, strict=True)):
        for key in layer.state_dict():
            first, dot, rest = key.partition(".")
            yield f"{part}.{place}.{key}", f"{theirs}.{inner.get(first, first)}{dot}{rest}"


def renamed(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the authors' weights under our names.

    Raises:
        RuntimeError: one is missing, or there are others.
    """
    if missing := sorted(set(names.values()) - set(weights)):
        raise RuntimeError(f"{len(missing)} weights are missing, the first is {missing[0]}")
    if others := sorted(set(weights) - set(names.values())):
        raise RuntimeError(f"{len(others)} weights are of no part, the first is {others[0]}")
    return {ours: weights[theirs] for ours, theirs in names.items()}
