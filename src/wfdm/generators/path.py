"""A denoiser asked for a batch of requests: what a sampler follows (`wfdm.processes.samplers`)."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wfdm.config.denoisers import ProcessSettings
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.unet import Denoiser
from wfdm.processes.samplers import Levels

# On the CPU a sample's bits must be its own. Measured with torch 2.13, AVX2 and one or two threads:
# in batches of 2 to 9 an item's convolutions, norms and attention have the same bits wherever it
# stands and whatever stands beside it, at about half the time of items one by one. Two things
# differ: one item alone takes another, slower convolution, so it gets a copy of itself; and a
# matrix product rounds by its number of rows, so each linear layer takes one item at a time.
CPU_FEWEST, CPU_MOST = 2, 8


def keep_apart(denoiser: nn.Module) -> None:
    """Let every linear layer take one item of a batch at a time, beside a copy of itself."""
    for layer in denoiser.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(_by_item)


def _by_item(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    pairs = (item.repeat_interleave(CPU_FEWEST, 0) for item in inputs[0].split(1))
    return torch.cat([functional.linear(pair, weight, bias)[:1] for pair in pairs])


@dataclass(frozen=True)
class ConditionalPath:
    """The denoiser's answers to one batch, turned into what its process calls them.

    Attributes:
        denoiser: frozen; on the CPU with its linear layers kept apart.
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
        if len(z) == 1 and z.device.type == "cpu":
            pair = z.repeat_interleave(CPU_FEWEST, 0), times.repeat_interleave(CPU_FEWEST, 0)
            return self.denoiser(*pair, conditions.repeated(CPU_FEWEST))[:1]
        return self.denoiser(z, times, conditions)
