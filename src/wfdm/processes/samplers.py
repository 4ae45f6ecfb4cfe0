"""Samplers: pure functions from a velocity field, a start and times to the end point."""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
Sampler = Callable[[Velocity, Tensor, Tensor], Tensor]


def euler(velocity: Velocity, z: Tensor, times: Tensor) -> Tensor:
    """Integrate dz/dt = -v(z, t) along decreasing `times` with Euler's method.

    With v = E[x0 - noise | x_t] (rectified flow) this carries noise at time 1 to data at time 0;
    the error is of first order in the largest step.

    Args:
        velocity: v(z, t), shaped as z; t is a plain number.
        z: the state at times[0].
        times: (steps + 1,) decreasing.

    Returns:
        The state at times[-1].
    """
    for now, later in pairwise(times.tolist()):
        z = z + (now - later) * velocity(z, now)
    return z


SAMPLERS: dict[str, Sampler] = {"euler": euler}
