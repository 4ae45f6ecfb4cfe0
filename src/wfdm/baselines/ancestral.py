"""Ancestral sampling by steps that are counted from 0 (Ho et al. 2020, arXiv 2006.11239).

The state at step n is x_n = sqrt(abar_n) x0 + sqrt(1 - abar_n) e. `wfdm.processes` has the same
mathematics on times in [0, 1]; the published systems clamp what they predict, and differ in the
variance, so their steps are here.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Variance = Literal["beta", "posterior"]


@dataclass(frozen=True)
class Schedule:
    """How much of the data is left at each step that is taken.

    Attributes:
        kept: abar, float64 (steps,), falling.
        asked: what the network is told of each step, int64 (steps,).
    """

    kept: Tensor
    asked: Tensor

    @classmethod
    def of(cls, betas: Tensor) -> "Schedule":
        """Return the schedule of all steps, from their betas, float64."""
        return cls(torch.cumprod(1 - betas, 0), torch.arange(len(betas)))

    def every(self, steps: Tensor) -> "Schedule":
        """Return the schedule that takes just these steps, rising."""
        return Schedule(self.kept[steps], self.asked[steps])

    @property
    def before(self) -> Tensor:
        """What is left at the step that follows each in sampling: abar; 1 after the last."""
        return torch.cat([self.kept.new_ones(1), self.kept[:-1]])

    @property
    def betas(self) -> Tensor:
        """1 - abar_n / abar_(n - 1), float64."""
        return 1 - self.kept / self.before


def linear_betas(steps: int, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Return betas that rise evenly (Ho et al. 2020), float64."""
    return torch.linspace(first, last, steps, dtype=torch.float64)


def cosine_betas(steps: int, offset: float = 0.008, largest: float = 0.999) -> Tensor:
    """Return the betas of Nichol and Dhariwal 2021 (arXiv 2102.09672, equation 17), float64."""
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(0, largest)


def noised(schedule: Schedule, step: int | Tensor, x0: Tensor, noise: Tensor) -> Tensor:
    """Return x_n of data x0 (B, ...) at a step, or at one for each item."""
    kept = schedule.kept[step].reshape(-1, *[1] * (x0.dim() - 1)).to(x0.device)
    return kept.sqrt().to(x0.dtype) * x0 + (1 - kept).sqrt().to(x0.dtype) * noise


def data_of(schedule: Schedule, step: int, x: Tensor, noise: Tensor) -> Tensor:
    """Return the x0 that a predicted noise means: (x - sqrt(1 - abar) e) / sqrt(abar)."""
    kept = float(schedule.kept[step])
    return (1 / kept) ** 0.5 * x - (1 / kept - 1) ** 0.5 * noise


def step_back(
    schedule: Schedule, step: int, x: Tensor, x0: Tensor, noise: Tensor, variance: Variance
) -> Tensor:
    """Return the state one step on, from the predicted data (Ho et al. 2020, equations 6 and 7).

    Args:
        schedule: of the steps taken.
        step: place in the schedule; 0 is the last, and adds no noise.
        x: the state, any shape.
        x0: predicted data, shaped as x.
        noise: unit noise, shaped as x.
        variance: of the noise added: beta, or the smaller one of the posterior.
    """
    kept, before, beta = (
        float(each[step]) for each in (schedule.kept, schedule.before, schedule.betas)
    )
    of_data = beta * before**0.5 / (1 - kept)
    of_state = (1 - before) * (1 - beta) ** 0.5 / (1 - kept)
    mean = of_data * x0 + of_state * x
    if not step:
        return mean
    added = beta if variance == "beta" else beta * (1 - before) / (1 - kept)
    return mean + added**0.5 * noise
