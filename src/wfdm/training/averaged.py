"""A network trained by Adam, of which the moving average of the weights is judged and kept."""

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wfdm.config.training import AveragedTraining
from wfdm.training import ema
from wfdm.training.learning_rates import polynomial
from wfdm.training.loop import Run


class Averaged:
    """What the objectives of such trainings share; see `wfdm.training.loop.Objective`.

    Args:
        model: what is trained.
        training: how.
        betas: of Adam.
    """

    exported = "ema"

    def __init__(
        self,
        model: nn.Module,
        training: AveragedTraining,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        average = copy.deepcopy(model).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"model": model, "ema": average}
        adam = torch.optim.Adam(model.parameters(), training.learning_rate, betas)
        self.optimizers: dict[str, Optimizer] = {"model": adam}
        self.batch_size = training.batch_size
        self.schedule = partial(
            polynomial,
            steps=training.steps,
            warmup_steps=training.warmup_steps,
            power=training.decay_power,
        )
        self._clip, self._decay = training.gradient_clip, training.ema_decay

    def update(self, run: Run, loss: Tensor) -> None:
        """Minimise `loss` by one step, and move the average unless that step was skipped."""
        if run.update("model", loss, self._clip):
            decay = ema.warmed_decay(self._decay, run.step)
            ema.update(self.modules["ema"], self.modules["model"], decay)
