"""Stage B: train a conditional denoiser on scaled latents (paper, 2.5.4-2.5.6)."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from wfdm.config.denoisers import DenoiserTraining, LatentKind, NetworkSettings, ProcessSettings
from wfdm.data.metadata import Statistics
from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.latents.moments import Moments
from wfdm.latents.standard import Standard
from wfdm.models.denoisers import folder
from wfdm.models.denoisers.conditions import Conditions
from wfdm.seeds import generator_for, seed_for, seeded_weights, torch_generator
from wfdm.training import ema
from wfdm.training.conditioned import BalancedDraws, Conditioned
from wfdm.training.learning_rates import polynomial
from wfdm.training.loop import Batch, Draws, Plan, Run, train

TIMES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""where the history tells the error of the predicted latent"""
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
        latents: how they are moved and divided (`wfdm.latents.standard`).
        posterior: whether training draws latents from their posteriors.
    """

    name: str
    seed: int
    network: NetworkSettings
    process: ProcessSettings
    training: DenoiserTraining
    age_group_from_age: bool
    latents: LatentKind = "scale"
    posterior: Literal["mean", "sample"] = "mean"


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
        out: receives model.safetensors (EMA weights), config.json, standard.safetensors,
            history.csv, last/.
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
    standard = Standard.of(task.latents, Moments.read(latents), cache.space.scale)
    objective = StageB(task, cache, standard, scans, statistics)
    for loadable in (out, out / "last"):
        standard.write(loadable)

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


class StageB:
    """The objective of 2.5.4: the denoiser predicts the process's target, and is averaged.

    x_t and the target are the process's (`wfdm.processes`), t is drawn uniformly and then shifted.
    `conditioning_dropout` hides all metadata of some items: to the network a scan of which nothing
    is recorded, so guidance needs no null class. The modality stays.
    See `wfdm.training.loop.Objective` for the attributes.
    """

    exported = "ema"

    def __init__(
        self,
        task: Task,
        cache: Latents,
        standard: Standard,
        scans: pd.DataFrame,
        statistics: Statistics,
    ) -> None:
        training = task.training
        self.task, self.latent_shape = task, cache.space.shape
        self.standard = standard
        self.process: Any = import_module(task.process.implementation)
        self.loss = LOSSES[training.loss]
        fit, judge = (_of_split(scans, split) for split in ("train", "validation"))
        self.modalities = [name for name in MODALITIES if name in set(fit["modality"])]
        drawn = Conditioned.of(cache, fit, statistics)
        self.data: Draws = BalancedDraws(drawn, training.balance, task.posterior)
        order = generator_for(task.seed, "validation", task.name).permutation(len(judge))
        chosen = judge.iloc[order[: training.validation_scans]]
        self.judged = Conditioned.of(cache, chosen, statistics)
        with seeded_weights(seed_for(task.seed, "initial weights", task.name)):
            model = folder.build(task.network, self.latent_shape)
        average = copy.deepcopy(model).requires_grad_(False)
        self.modules: Mapping[str, nn.Module] = {"model": model, "ema": average}
        adam = torch.optim.Adam(model.parameters(), training.learning_rate)
        self.optimizers: Mapping[str, Optimizer] = {"model": adam}
        self.batch_size = training.batch_size
        self.validation_size = len(chosen)
        own = [f"val_loss_{name}" for name in MODALITIES if name in self.judged.modalities]
        swapped = ["val_other_modality", "val_other_metadata"]
        errors = [*(f"x0_{time:g}" for time in TIMES), "x0_modality_mean", "x0_overall_mean"]
        self.columns = ["val_loss", *own, *swapped, *errors]
        self.schedule = partial(
            polynomial,
            steps=training.steps,
            warmup_steps=training.warmup_steps,
            power=training.decay_power,
        )

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Update the denoiser on one batch, then its average."""
        device = batch["z"].device
        uniform = torch.rand(len(batch["z"]), device=device, generator=generator)
        noise = torch.randn(batch["z"].shape, device=device, generator=generator)
        told = Conditions.from_dict(batch)
        if dropout := self.task.training.conditioning_dropout:
            kept = torch.rand(len(noise), device=device, generator=generator) >= dropout
            told = replace(told, mask=told.mask * kept[:, None])
        self.standard = self.standard.to(noise.device)
        loss = self._loss(run.modules["model"], batch["z"], uniform, noise, told)
        if run.update("model", loss, self.task.training.gradient_clip):
            decay = ema.warmed_decay(self.task.training.ema_decay, run.step)
            ema.update(self.modules["ema"], self.modules["model"], decay)
        return {"loss": loss.detach()}

    def validate(self, run: Run, index: int) -> dict[str, float]:
        """Return what one scan says of the average, by column of the history.

        Noise belongs to the scan and the times of the loss are spread evenly over the scans, so
        that losses of different steps differ by the weights alone. Beside the loss stand

            val_loss_MODALITY        the loss of the scan's own modality
            val_other_modality       the loss where the scan passes for one of the next modality
            val_other_metadata       the loss with the metadata of the next scan
            x0_T                     squared error of the predicted z_0 at time T, scaled latent
            x0_modality_mean         the same of the constant mean latent of the modality
            x0_overall_mean          and of the mean latent of all training scans

        A conditional model loses by others' conditions; one that has learned anything is below
        the means at every time.
        """
        batch = {key: value[None] for key, value in self.judged.item(index).items()}
        other = self.judged.conditions[[(index + 1) % self.validation_size]]
        seed = seed_for(self.task.seed, "validation", self.judged.scan_ids[index])
        noise = torch.randn(batch["z"].shape, generator=torch_generator(seed))
        uniform = torch.tensor([(index + 0.5) / self.validation_size])
        batch, uniform, noise = run.fabric.to_device((batch, uniform, noise))
        self.standard = self.standard.to(noise.device)
        model = self.modules["ema"]
        z, told = batch["z"], Conditions.from_dict(batch)
        name = self.judged.modalities[index]
        following = self._after(name)
        with run.fabric.autocast():
            loss = self._loss(model, z, uniform, noise, told)
            found = {
                "val_loss": loss,
                f"val_loss_{name}": loss,
                "val_other_modality": self._loss(
                    model, z, uniform, noise, told.as_modality(following)
                ),
                "val_other_metadata": self._loss(
                    model, z, uniform, noise, other.to(z.device).as_modality(name)
                ),
            }
            for time in TIMES:
                error = self._restored(z, z.new_full((1,), time), noise, told) - z
                found[f"x0_{time:g}"] = error.square().mean()
        for kind, mean in (
            ("modality", self.standard.modality_mean[told.modality]),
            ("overall", self.standard.overall_mean),
        ):
            found[f"x0_{kind}_mean"] = (mean - z).square().mean()
        return {name: float(value) for name, value in found.items()}

    def _after(self, modality: str) -> str:
        """Return the next modality that was trained; of a single one itself."""
        place = MODALITIES.index(modality) + 1
        order = [*MODALITIES[place:], *MODALITIES[:place]]
        return next(name for name in order if name in self.modalities)

    def _loss(
        self, model: nn.Module, z: Tensor, uniform: Tensor, noise: Tensor, told: Conditions
    ) -> Tensor:
        """Return the loss of a batch of scaled latents z at the times that `uniform` leads to."""
        x0 = self.standard.seen(z, told.modality)
        t = self.process.training_times(uniform, self.latent_shape, self.task.process)
        noisy = self.process.noised(x0, noise, t, self.task.process)
        output = model(noisy, t, told).float()
        predicted = self.process.predicted(output, noisy, t, self.task.process)
        return self.loss(predicted, self.process.target(x0, noise, t, self.task.process))

    def _restored(self, z: Tensor, t: Tensor, noise: Tensor, told: Conditions) -> Tensor:
        """Return the scaled latent that the average predicts from z, noised to the times t."""
        process, settings = self.process, self.task.process
        noisy = process.noised(self.standard.seen(z, told.modality), noise, t, settings)
        output = self.modules["ema"](noisy, t, told).float()
        answer = process.predicted(output, noisy, t, settings)
        return self.standard.scaled(process.clean(answer, noisy, t, settings), told.modality)


def _of_split(scans: pd.DataFrame, split: str) -> pd.DataFrame:
    rows = scans[scans["split"] == split].sort_values("scan_id")
    if rows.empty:
        raise UserError(f"split: no {split} scan, which training needs: give more people")
    return rows
