"""Latents on the way to noise, and what a network that sees them there is trained to say."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from wfdm.config.denoisers import ProcessSettings

TIMES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""where the history tells the error of the predicted latent"""
LOSSES = {"l1": functional.l1_loss, "l2": functional.mse_loss}

Answer = Callable[[Tensor, Tensor], Tensor]
"""A network with its conditions: noised latents (B, C, d, h, w) and times (B,) to its output."""


class Noising:
    """The process of a denoiser (`wfdm.processes`) and the loss of 2.5.4 over it.

    Args:
        settings: of the process.
        shape: of a latent; with more voxels, times are shifted towards noise.
        loss: l1 or l2.
    """

    def __init__(
        self, settings: ProcessSettings, shape: tuple[int, ...], loss: Literal["l1", "l2"]
    ) -> None:
        self.settings, self.shape, self.distance = settings, shape, LOSSES[loss]
        self.process: Any = import_module(settings.implementation)

    def draw(self, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return uniform numbers (B,) and noise for a batch z of latents."""
        uniform = torch.rand(len(z), device=z.device, generator=generator)
        return uniform, torch.randn(z.shape, device=z.device, generator=generator)

    def loss(self, answer: Answer, x0: Tensor, uniform: Tensor, noise: Tensor) -> Tensor:
        """Return the loss of a batch at the times that `uniform` leads to.

        Args:
            answer: of the network.
            x0: latents as it sees them.
            uniform: (B,) in [0, 1).
            noise: of unit variance, as `x0`.
        """
        t = self.process.training_times(uniform, self.shape, self.settings)
        noisy = self.process.noised(x0, noise, t, self.settings)
        predicted = self.predicted(answer, noisy, t)
        return self.distance(predicted, self.process.target(x0, noise, t, self.settings))

    def restored(self, answer: Answer, x0: Tensor, time: float, noise: Tensor) -> Tensor:
        """Return x0 as the network predicts it from x0 noised to `time`."""
        t = noise.new_full((len(noise),), time)
        noisy = self.process.noised(x0, noise, t, self.settings)
        return self.process.clean(self.predicted(answer, noisy, t), noisy, t, self.settings)

    def predicted(self, answer: Answer, noisy: Tensor, t: Tensor) -> Tensor:
        """Return the process's target at times t (B,) as the network predicts it."""
        return self.process.predicted(answer(noisy, t).float(), noisy, t, self.settings)
