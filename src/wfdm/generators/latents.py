"""Where a latent generator starts, and how its latents become volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from wfdm.generators.protocol import Request
from wfdm.latents.space import LatentSpace
from wfdm.seeds import seed_for, torch_generator


def start_noise(space: LatentSpace, name: str, request: Request, seed: int) -> Tensor:
    """Return z_1 of one request, float32 (C, d, h, w), on the CPU.

    It is unit noise from the request's own generator, named by (seed, "sample", name, request): it
    depends on neither device, order nor the other requests.
    """
    own = torch_generator(seed_for(seed, "sample", name, request.name))
    return torch.randn(space.shape, generator=own)


def step_noise(
    space: LatentSpace, name: str, requests: Sequence[Request], seed: int, step: int
) -> Tensor:
    """Return the unit noise of one step of a sampler, float32 (B, C, d, h, w), on the CPU.

    Each request's is its own generator's, named as its `start_noise` and by the step: it depends on
    neither the batch nor the steps before.
    """
    owns = (
        torch_generator(seed_for(seed, "sample", name, request.name, "step", step))
        for request in requests
    )
    return torch.stack([torch.randn(space.shape, generator=own) for own in owns])


@torch.no_grad()
def decoded(decode: Callable[[Tensor], Tensor], space: LatentSpace, latent: Tensor) -> np.ndarray:
    """Return clamp(D(z_0 / s_z), 0, 1) of one scaled latent (C, d, h, w), float32 (R, A, S)."""
    z = latent[None] / space.scale
    return decode(z)[0, 0].clamp(0, 1).float().cpu().numpy()
