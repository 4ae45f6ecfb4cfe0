"""Stage B: train a conditional denoiser on scaled latents (paper, 2.5.4-2.5.6)."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from wfdm.config.denoisers import DenoiserTraining, ProcessSettings, UNetSettings
from wfdm.data.metadata import Statistics
from wfdm.data.table import MODALITIES, rows_of
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.models.denoisers import folder
from wfdm.models.denoisers.conditions import Conditions
from wfdm.seeds import generator_for, seed_for, seeded_weights, torch_generator
from wfdm.training import ema
from wfdm.training.learning_rates import polynomial
from wfdm.training.loop import Batch, Draws, Plan, Run, train

LOSSES = {"l1": functional.l1_loss, "l2": functional.mse_loss}


@dataclass(frozen=True)
class Task:
    """What is trained: the settings of one denoiser.

    Attributes:
        name: of the denoiser; part of every draw's seed.
        seed: the study's.
        network: its architecture.
        process: between data and noise.
        training: how it is trained.
        age_group_from_age: whether the scans have their age group from their age.
    """

    name: str
    seed: int
    network: UNetSettings
    process: ProcessSettings
    training: DenoiserTraining
    age_group_from_age: bool


def train_denoiser(
    task: Task,
    latents: Path,
    scans: pd.DataFrame,
    statistics: Statistics,
    out: Path,
    threads: int,
    workers: int,
    identity: str,
    start: Path | None = None,
) -> dict[str, float]:
    """Train a denoiser, or continue one that was cut off; write it into `out`.

    Args:
        task: what is trained.
        latents: folder of the latent cache.
        scans: scan_id, modality, split and the 25 metadata fields of every scan.
        statistics: mean and standard deviation of the numeric fields.
        out: receives model.safetensors (EMA weights), config.json, history.csv, last/.
        threads: CPU threads.
        workers: loader processes.
        identity: digest of settings, inputs and code; see `wfdm.training.loop`.
        start: weights of another training to begin with; None for fresh ones.

    Returns:
        Speed and memory, for the record.

    Raises:
        UserError: settings and latents do not fit, a split is empty, or training diverges.
    """
    cache = Latents(latents)
    objective = StageB(task, cache, scans, statistics)

    def config(where: Path) -> str:
        return folder.config_text(
            task.name,
            task.network,
            task.process,
            task.training.conditioning_dropout,
            objective.modalities,
            task.age_group_from_age,
            statistics,
            cache.space.as_dict(where),
        )

    plan = Plan(
        name=task.name,
        seed=task.seed,
        steps=task.training.steps,
        validate_every=task.training.validate_every,
        folder=out,
        config=config,
        identity=identity,
        start=start,
        precision=task.training.precision,
        threads=threads,
        workers=workers,
    )
    return train(objective, plan)


def balanced_weights(modalities: np.ndarray, balance: float) -> np.ndarray:
    """Return each scan's chance to be drawn: 1 / count(modality) ** balance, normalised.

    Args:
        modalities: (n,) integer modality of each scan.
        balance: 0 draws scans alike, 1 draws modalities alike (paper, 2.5.6; authors' code).
    """
    weights = 1 / np.bincount(modalities)[modalities] ** balance
    return weights / weights.sum()


@dataclass(frozen=True)
class Conditioned:
    """Latents with their conditions c (paper, equation 3)."""

    cache: Latents
    scan_ids: list[str]
    modalities: list[str]
    conditions: Conditions

    @classmethod
    def of(cls, cache: Latents, scans: pd.DataFrame, statistics: Statistics) -> "Conditioned":
        """Encode the conditions of `scans` once. Raises UserError for a scan without latent."""
        lost = [scan_id for scan_id in scans["scan_id"] if scan_id not in cache]
        if lost:
            raise UserError(f"{cache.folder}: no latent of {lost[0]} and {len(lost) - 1} more")
        modalities = list(scans["modality"])
        conditions = Conditions.of(modalities, rows_of(scans), statistics)
        return cls(cache, list(scans["scan_id"]), modalities, conditions)

    def item(self, index: int) -> Batch:
        """Return one scan's scaled latent and conditions, without a batch axis."""
        z = torch.from_numpy(self.cache.scaled_mean(self.scan_ids[index]))
        return {"z": z, **self.conditions[index].as_dict()}


class BalancedDraws:
    """Draw training scans so that rare modalities are seen (paper, 2.5.6)."""

    def __init__(self, scans: Conditioned, balance: float) -> None:
        self.scans = scans
        numbers = scans.conditions.modality.numpy()
        self.cumulative = np.cumsum(balanced_weights(numbers, balance))

    def draw(self, rng: np.random.Generator) -> Batch:
        """Return one item."""
        place = np.searchsorted(self.cumulative, rng.random(), side="right")
        return self.scans.item(min(int(place), len(self.cumulative) - 1))


class StageB:
    """The objective of 2.5.4: the denoiser predicts the process's target, and is averaged.

    x_t and the target are the process's (`wfdm.processes`), t is drawn uniformly and then shifted.
    `conditioning_dropout` hides all metadata of some items: to the network a scan of which nothing
    is recorded, so guidance needs no null class. The modality stays.
    See `wfdm.training.loop.Objective` for the attributes.
    """

    exported = "ema"

    def __init__(
        self, task: Task, cache: Latents, scans: pd.DataFrame, statistics: Statistics
    ) -> None:
        training = task.training
        self.task, self.latent_shape = task, cache.space.shape
        self.process: Any = import_module(task.process.implementation)
        self.loss = LOSSES[training.loss]
        fit, judge = (_of_split(scans, split) for split in ("train", "validation"))
        self.modalities = [name for name in MODALITIES if name in set(fit["modality"])]
        self.data: Draws = BalancedDraws(Conditioned.of(cache, fit, statistics), training.balance)
        order = generator_for(task.seed, "validation", task.name).permutation(len(judge))
        chosen = judge.iloc[order[: training.validation_scans]]
        self.judged = Conditioned.of(cache, chosen, statistics)
        with seeded_weights(seed_for(task.seed, "initial weights", task.name)):
            model = folder.build(task.network, self.latent_shape[0])
        average = copy.deepcopy(model).requires_grad_(False)
        self.modules: Mapping[str, nn.Module] = {"model": model, "ema": average}
        adam = torch.optim.Adam(model.parameters(), training.learning_rate)
        self.optimizers: Mapping[str, Optimizer] = {"model": adam}
        self.batch_size = training.batch_size
        self.validation_size = len(chosen)
        self.schedule = partial(
            polynomial,
            steps=training.steps,
            warmup_steps=training.warmup_steps,
            power=training.decay_power,
        )

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Update the denoiser on one batch, then its average."""
        device = batch["z"].device
        t = torch.rand(len(batch["z"]), device=device, generator=generator)
        noise = torch.randn(batch["z"].shape, device=device, generator=generator)
        if dropout := self.task.training.conditioning_dropout:
            told = torch.rand(len(t), device=device, generator=generator) >= dropout
            batch = batch | {"mask": batch["mask"] * told[:, None]}
        loss = self._loss(run.modules["model"], batch, t, noise)
        if run.update("model", loss, self.task.training.gradient_clip):
            decay = ema.warmed_decay(self.task.training.ema_decay, run.step)
            ema.update(self.modules["ema"], self.modules["model"], decay)
        return {"loss": loss.detach()}

    def validate(self, run: Run, index: int) -> float:
        """Return the loss of one scan under the average.

        Noise belongs to the scan and the times are spread evenly over the scans, so that losses
        of different steps differ by the weights alone.
        """
        batch = {key: value[None] for key, value in self.judged.item(index).items()}
        seed = seed_for(self.task.seed, "validation", self.judged.scan_ids[index])
        noise = torch.randn(batch["z"].shape, generator=torch_generator(seed))
        t = torch.tensor([(index + 0.5) / self.validation_size])
        batch, t, noise = run.fabric.to_device((batch, t, noise))
        with run.fabric.autocast():
            return float(self._loss(self.modules["ema"], batch, t, noise))

    def _loss(self, model: nn.Module, batch: Batch, uniform: Tensor, noise: Tensor) -> Tensor:
        z, conditions = batch["z"], Conditions.from_dict(batch)
        t = self.process.training_times(uniform, self.latent_shape, self.task.process)
        noisy = self.process.noised(z, noise, t, self.task.process)
        output = model(noisy, t, conditions).float()
        predicted = self.process.predicted(output, noisy, t, self.task.process)
        return self.loss(predicted, self.process.target(z, noise, t, self.task.process))


def _of_split(scans: pd.DataFrame, split: str) -> pd.DataFrame:
    rows = scans[scans["split"] == split].sort_values("scan_id")
    if rows.empty:
        raise UserError(f"split: no {split} scan, which training needs: give more people")
    return rows
