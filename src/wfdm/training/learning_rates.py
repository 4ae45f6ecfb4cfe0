"""Learning rates as pure functions of the step, so that resuming needs no scheduler state."""

import math


def warmup(step: int, warmup_steps: int) -> float:
    """Return the linear ramp from 1/warmup_steps at step 0 to 1, in (0, 1]."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def cosine(step: int, steps: int, warmup_steps: int) -> float:
    """Return the factor of the base rate: linear warm-up, then half a cosine towards 0."""
    if step < warmup_steps:
        return warmup(step, warmup_steps)
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def polynomial(step: int, steps: int, warmup_steps: int, power: float) -> float:
    """Return the factor of the base rate: linear warm-up times (1 - step/steps)**power."""
    return warmup(step, warmup_steps) * max(0.0, 1 - step / steps) ** power
