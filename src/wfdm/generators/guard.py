"""The guard of fast inference: on this machine, with these weights, is it still the same answer?

Kernels differ by card, driver and version, and some were wrong for a while. So a process that works
with a lever compares one step and one volume with float32 first, and refuses what differs more than
the lever's rounding can explain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wfdm.errors import UserError
from wfdm.generators.inference import Engine, engine, exact
from wfdm.log import log
from wfdm.seeds import seed_for, torch_generator

if TYPE_CHECKING:
    from torch import Tensor

    from wfdm.config.generators import InferenceSettings
    from wfdm.latents.space import LatentSpace
    from wfdm.models.compressors.base import Compressor
    from wfdm.models.denoisers.network import Network

LIMITS = {"float32": 1e-3, "tf32": 0.02, "bf16": 0.08}
"""Most relative error (norm) of one step or one volume. Measured at full size on an H100, random
weights: TF32 0.0013, bfloat16 0.022 at most (benchmarks/gpu)."""


def guarded(
    denoiser: Network,
    compressor: Compressor,
    space: LatentSpace,
    settings: InferenceSettings,
    name: str,
) -> Engine:
    """Return the engine that the settings ask for, once it agrees with float32.

    Args:
        denoiser: frozen, on its device.
        compressor: frozen, on the same.
        space: of the latents.
        settings: the levers.
        name: of the generator, for the messages.

    Raises:
        UserError: it differs; the message names the lever.
    """
    device = next(denoiser.parameters()).device
    levers = settings.levers(device.type)
    plain = exact(denoiser, compressor)
    if not levers:
        return plain
    fast, limit = engine(denoiser, compressor, settings), LIMITS[settings.arithmetic]
    wanted = _told(plain, denoiser, space, device)
    error = _error(wanted, _told(fast, denoiser, space, device))
    if error <= limit:
        log.info(f"{name}: {', '.join(levers)}: {error:.2g} from float32, at most {limit:g}")
        return fast
    wrong = []
    for lever in levers:
        alone = settings.alone(lever)
        found = _told(engine(denoiser, compressor, alone), denoiser, space, device)
        if not _error(wanted, found) <= LIMITS[alone.arithmetic]:
            wrong.append(lever)
    raise UserError(
        f"{name}: inference with {', '.join(wrong or levers)} gives other answers than float32 on "
        f"this machine (relative error {error:.2g}, at most {limit:g}): turn it off under "
        "'inference' of the generator"
    )


def _told(
    tried: Engine, denoiser: Network, space: LatentSpace, device: torch.device
) -> list[Tensor]:
    """Return the answer to noise at half time, and the volume of that noise."""
    from wfdm.models.denoisers.conditions import Conditions

    own = torch_generator(seed_for(0, "guard"))
    z = torch.randn((1, *space.shape), generator=own).to(device)
    conditions = Conditions.of(["T1w"], [{}], None).to(device)
    with torch.no_grad():
        embedding = denoiser.condition(z.new_full((1,), 0.5), conditions)
    return [tried.answer(z, embedding), tried.decode(z / space.scale)]


def _error(wanted: list[Tensor], found: list[Tensor]) -> float:
    """Return the larger relative error; infinite where a value is not finite."""
    worst = 0.0
    for right, other in zip(wanted, found, strict=True):
        if not torch.isfinite(other).all():
            return float("inf")
        least = torch.finfo(torch.float32).tiny  # an untrained network answers nothing at all
        worst = max(worst, float((other - right).norm() / right.norm().clamp(min=least)))
    return worst
