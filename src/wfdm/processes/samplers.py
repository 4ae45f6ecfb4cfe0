"""Samplers: pure functions from what a denoiser answers, a start and times to the end point.

The state is z_t = a x0 + s noise at time t (a process's `levels`); times fall from 1, noise, to 0,
data. `SAMPLERS` in `wfdm.config.generators` says which sampler fits which process.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from wfdm.config.generators import SamplerSettings

Answer = Callable[[Tensor, float], Tensor]  # to a state and its time, shaped as the state
Levels = tuple[Tensor, Tensor]
Draw = Callable[[int], Tensor]


class Path(Protocol):
    """A denoiser with its conditions and its process: all that a sampler asks."""

    def predicted(self, z: Tensor, t: float) -> Tensor:
        """Return the process's target at (z, t): of rectified flow the velocity."""
        ...

    def clean(self, z: Tensor, t: float) -> Tensor:
        """Return the predicted data x0 at (z, t)."""
        ...

    def levels(self, times: Tensor) -> Levels:
        """Return a and s at each of the times."""
        ...


def carry(settings: SamplerSettings, path: Path, z: Tensor, times: Tensor, draw: Draw) -> Tensor:
    """Carry a state from times[0] to times[-1] with the sampler that the settings name.

    Args:
        settings: sampler, and its eta.
        path: what is asked at each step.
        z: the state at times[0].
        times: (steps + 1,) decreasing, float64.
        draw: unit noise shaped as z, of each step by its number, for the samplers that add any.
    """
    match settings.sampler:
        case "euler":
            return euler(path.predicted, z, times)
        case "heun":
            return heun(path.predicted, z, times)
        case "ancestral":
            return ddim(path.clean, z, times, path.levels(times), 1.0, draw)
        case "ddim":
            return ddim(path.clean, z, times, path.levels(times), settings.eta, draw)
        case "dpm-solver++":
            return dpm_solver(path.clean, z, times, path.levels(times))


def euler(velocity: Answer, z: Tensor, times: Tensor) -> Tensor:
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


def heun(velocity: Answer, z: Tensor, times: Tensor) -> Tensor:
    """Integrate dz/dt = -v(z, t) with Heun's method: the mean of v at both ends of an Euler step.

    The error is of second order; each step asks twice.
    """
    for now, later in pairwise(times.tolist()):
        first = velocity(z, now)
        second = velocity(z + (now - later) * first, later)
        z = z + (now - later) * (first + second) / 2
    return z


def ddim(clean: Answer, z: Tensor, times: Tensor, levels: Levels, eta: float, draw: Draw) -> Tensor:
    """Step by DDIM (Song et al. 2021, arXiv 2010.02502, equations 12 and 16).

    From (a, s) to (a', s'): z' = a' x0 + sqrt(s'^2 - d^2) e + d noise, with the predicted data x0,
    its noise e = (z - a x0) / s, and d = eta s'/s sqrt(1 - a^2 / a'^2). With eta = 0 nothing is
    drawn, and the error is of first order. With eta = 1 this is DDPM's ancestral step (Ho et al.
    2020, equation 7), with the variance of the posterior, for any number of steps.

    Args:
        clean: x0(z, t), shaped as z.
        z: the state at times[0].
        times: (steps + 1,) decreasing.
        levels: a and s at each time.
        eta: from 0 to 1, share of the ancestral noise.
        draw: unit noise of each step that adds any, by its number.
    """
    states = zip(times.tolist(), *(level.tolist() for level in levels), strict=True)
    for number, ((now, a, s), (_, a_later, s_later)) in enumerate(pairwise(states)):
        x0 = clean(z, now)
        added = eta * s_later / s * (1 - (a / a_later) ** 2) ** 0.5
        kept = max(s_later**2 - added**2, 0) ** 0.5
        z = a_later * x0 + kept / s * (z - a * x0)
        if added:
            z = z + added * draw(number)
    return z


def dpm_solver(clean: Answer, z: Tensor, times: Tensor, levels: Levels) -> Tensor:
    """Step by DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2).

    From (a, s) to (a', s'): z' = s'/s z + (a' - a s'/s) D, where D is the predicted data, led on
    from the step before: D = x0 + (x0 - x0_before) h / (2 h_before), with h the growth of
    log(a / s). In the first step, and in the last, where h is infinite, D = x0. The error is of
    second order where a and s are smooth in time; each step asks once.
    """
    growth = torch.log(levels[0] / levels[1]).diff().tolist()
    states = zip(times.tolist(), *(level.tolist() for level in levels), strict=True)
    before, grown = z, float("inf")  # leads nowhere
    for h, ((now, a, s), (_, a_later, s_later)) in zip(growth, pairwise(states), strict=True):
        x0 = clean(z, now)
        led = x0 + h / (2 * grown) * (x0 - before) if s_later and grown != float("inf") else x0
        z = s_later / s * z + (a_later - a * s_later / s) * led
        before, grown = x0, h
    return z
