"""A denoiser asked for a batch of requests: what a sampler follows (`wfdm.processes.samplers`)."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from wfdm.config.denoisers import ProcessSettings
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.unet import Denoiser
from wfdm.processes.samplers import Levels

# On the CPU every item is asked alone, beside a copy of itself: so a sample's bits are its own.
# Within a batch its last bits depend on its place and on the batch's size: matrix products round by
# their number of rows, and elementwise functions by where vectors and threads end. With the linear
# layers one by one, batches of 8 took half the time an item, but only widths that are multiples of
# 16 had the same bits. Two, because torch's fast 3D convolutions start at two items, and two are
# done sooner than one.
CPU_COPIES = 2


@dataclass(frozen=True)
class ConditionalPath:
    """The denoiser's answers to one batch, turned into what its process calls them.

    Attributes:
        denoiser: frozen.
        process: settings of the process that it was trained for.
        conditions: of the batch, on the denoiser's device.
        guidance: weight of the conditions (`predicted`).
    """

    denoiser: Denoiser
    process: ProcessSettings
    conditions: Conditions
    guidance: float

    @property
    def _process(self) -> Any:
        return import_module(self.process.implementation)

    def predicted(self, z: Tensor, t: float) -> Tensor:
        """Return the process's target at (z, t), z (B, C, d, h, w), guided.

        Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): u + g (c - u), where c is
        told all conditions and u the modality alone, as in training's `conditioning_dropout`.
        g = 1 is c, and u is not asked.
        """
        told = self._answer(z, t, self.conditions)
        if self.guidance != 1:
            untold = self._answer(z, t, self.conditions.without_metadata())
            told = untold + self.guidance * (told - untold)
        return told

    def clean(self, z: Tensor, t: float) -> Tensor:
        """Return the predicted data x0 at (z, t)."""
        times = z.new_full((len(z),), t)
        return self._process.clean(self.predicted(z, t), z, times, self.process)

    def levels(self, times: Tensor) -> Levels:
        """Return how much data and how much noise there is at each of the times."""
        return self._process.levels(times, self.process)

    def _answer(self, z: Tensor, t: float, conditions: Conditions) -> Tensor:
        times = z.new_full((len(z),), t)
        output = self._asked(z, times, conditions)
        return self._process.predicted(output, z, times, self.process)

    def _asked(self, z: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
        if z.device.type != "cpu":
            return self.denoiser(z, times, conditions)
        twice = [part.repeat_interleave(CPU_COPIES, 0).split(CPU_COPIES) for part in (z, times)]
        told = (conditions[item : item + 1].repeated(CPU_COPIES) for item in range(len(z)))
        return torch.cat([self.denoiser(*each)[:1] for each in zip(*twice, told, strict=True)])
