"""A denoiser asked for a batch of requests: what a sampler follows (`wfdm.processes.samplers`)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from wfdm.config.denoisers import ProcessSettings
from wfdm.models.denoisers.conditions import Conditions
from wfdm.processes.samplers import Levels

Embed = Callable[[Tensor, Conditions], Tensor]
"""times (T,) and as many conditions -> (T, width)"""
Answer = Callable[[Tensor, Tensor], Tensor]
"""latents (B, C, d, h, w) and embeddings (B, width) -> shaped as the latents"""


@dataclass(frozen=True)
class ConditionalPath:
    """The denoiser's answers to one batch, turned into what its process calls them.

    Attributes:
        embed: the denoiser's embedding of times and conditions.
        answer: the denoiser, given that.
        process: settings of the process that it was trained for.
        conditions: of the batch, on the denoiser's device.
        times: (steps + 1,) of the sampler: all are embedded at once.
        guidance: weight of the conditions (`predicted`).
        within: what predicted data (B, C, d, h, w) are turned into before they are used; None:
            nothing is.
    """

    embed: Embed
    answer: Answer
    process: ProcessSettings
    conditions: Conditions
    times: Tensor
    guidance: float
    within: Callable[[Tensor], Tensor] | None = None

    @property
    def _process(self) -> Any:
        return import_module(self.process.implementation)

    def predicted(self, z: Tensor, t: float) -> Tensor:
        """Return the process's target at (z, t), z (B, C, d, h, w), guided; t is one of `times`.

        Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): u + g (c - u), where c is
        told all conditions and u the modality alone, as in training's `conditioning_dropout`. Both
        are asked in one batch. g = 1 is c, and u is not asked.
        """
        embedding = self._embedded[t]
        states = torch.cat([z] * (len(embedding) // len(z)))
        times = z.new_full((len(states),), t)
        output = self._asked(states, embedding)
        told, *untold = self._process.predicted(output, states, times, self.process).split(len(z))
        return untold[0] + self.guidance * (told - untold[0]) if untold else told

    def clean(self, z: Tensor, t: float) -> Tensor:
        """Return the predicted data x0 at (z, t)."""
        times = z.new_full((len(z),), t)
        x0: Tensor = self._process.clean(self.predicted(z, t), z, times, self.process)
        return x0 if self.within is None else self.within(x0)

    def levels(self, times: Tensor) -> Levels:
        """Return how much data and how much noise there is at each of the times."""
        return self._process.levels(times, self.process)

    @cached_property
    def _embedded(self) -> dict[float, Tensor]:
        """Return by time the embeddings of the batch, then those that guidance compares with.

        Each item is embedded alone: rounding depends on the number of rows.
        """
        each = self.conditions
        asked = [each] if self.guidance == 1 else [each, each.without_metadata()]
        times = self.times.to(each.values)
        items = [
            self.embed(times, one[item : item + 1].repeated(len(times)))
            for one in asked
            for item in range(len(one.modality))
        ]
        return dict(zip(self.times.tolist(), torch.stack(items, 1), strict=True))

    def _asked(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Ask the denoiser; on a CPU for each item alone, so that a sample's bits are its own.

        Within a batch its last bits depend on its place and on the batch's size: matrix products
        round by their number of rows, and elementwise functions by where vectors and threads end.
        """
        if z.device.type != "cpu":
            return self.answer(z, embedding)
        pairs = zip(z.split(1), embedding.split(1), strict=True)
        return torch.cat([self.answer(*pair) for pair in pairs])
