"""Samplers: pure functions from a velocity field, a start and times to the end point."""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]


def interpolate(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return x_t = (1 - t) x0 + t noise, the straight path of rectified flow.

    Args:
        x0: (B, ...) data.
        noise: (B, ...) unit noise.
        t: (B,) times in [0, 1].
    """
    t = t.reshape(-1, *[1] * (x0.dim() - 1))
    return (1 - t) * x0 + t * noise


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
