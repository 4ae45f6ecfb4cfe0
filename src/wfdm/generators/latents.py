"""Where a latent generator starts, and how its latents become volumes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wfdm.generators.protocol import Request
from wfdm.latents.space import LatentSpace
from wfdm.models.compressors.base import Compressor
from wfdm.seeds import seed_for, torch_generator


def start_noise(space: LatentSpace, name: str, request: Request, seed: int) -> Tensor:
    """Return z_1 of one request, float32 (C, d, h, w), on the CPU.

    It is unit noise from the request's own generator, named by (seed, "sample", name, request): it
    depends on neither device, order nor the other requests.
    """
    own = torch_generator(seed_for(seed, "sample", name, request.name))
    return torch.randn(space.shape, generator=own)


@torch.no_grad()
def decode(compressor: Compressor, space: LatentSpace, latent: Tensor) -> np.ndarray:
    """Return clamp(D(z_0 / s_z), 0, 1) of one scaled latent (C, d, h, w), float32 (R, A, S)."""
    device = next(compressor.buffers(), next(compressor.parameters(), latent)).device
    z = latent[None].to(device) / space.scale
    return compressor.decode(z)[0, 0].clamp(0, 1).float().cpu().numpy()
