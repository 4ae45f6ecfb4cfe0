"""How far apart two samplers end that start from the same noise."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wfdm.errors import UserError, damaged


def read_endpoints(path: Path | str) -> dict[str, Tensor]:
    """Return the scaled latents (draws, C, d, h, w) that stage `endpoints` wrote, by scan.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: sample the endpoints first") from None
    except SafetensorError as error:
        raise damaged(Path(path), error) from None


def distance(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], draw: int = 0) -> float:
    """Return the mean over scans of |found - wanted| / |wanted|, Euclidean norms of latents.

    Args:
        found: by scan; of each the noise number `draw`.
        wanted: by scan; of each the first noise, its sample's own.
        draw: 0 compares ends of the same noise, another number those of two noises.

    Raises:
        UserError: the two are not of the same scans.
    """
    if set(found) != set(wanted):
        raise UserError("the endpoints are not of the same scans; sample them again")
    apart = [
        (found[name][draw] - wanted[name][0]).norm() / wanted[name][0].norm() for name in wanted
    ]
    return float(torch.stack(apart).mean())
