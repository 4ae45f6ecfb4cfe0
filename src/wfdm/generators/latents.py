"""How the latents of a generator become volumes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from wfdm.latents.space import LatentSpace


@torch.no_grad()
def decoded(decode: Callable[[Tensor], Tensor], space: LatentSpace, latent: Tensor) -> np.ndarray:
    """Return clamp(D(z_0 / s_z), 0, 1) of one scaled latent (C, d, h, w), float32 (R, A, S)."""
    z = latent[None] / space.scale
    return decode(z)[0, 0].clamp(0, 1).float().cpu().numpy()
