"""Stage B: train a conditional denoiser on scaled latents (paper, 2.5.4-2.5.6)."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from torch import Tensor, nn

from wfdm.config.denoisers import DenoiserTraining, LatentKind, NetworkSettings, ProcessSettings
from wfdm.data.metadata import Statistics
from wfdm.data.planting import planted, repeated
from wfdm.data.table import MODALITIES
from wfdm.latents.cache import Latents
from wfdm.latents.moments import Moments
from wfdm.latents.standard import Standard
from wfdm.models.denoisers import folder
from wfdm.models.denoisers.conditions import Conditions
from wfdm.seeds import generator_for, seed_for, seeded_weights, torch_generator
from wfdm.training.averaged import Averaged
from wfdm.training.conditioned import BalancedDraws, Conditioned, next_modality
from wfdm.training.loop import Batch, Draws, Run, train
from wfdm.training.noising import TIMES, Noising
from wfdm.training.plan import Job, Plan
from wfdm.training.splits import of_split


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
    job: Job,
) -> dict[str, float]:
    """Train a denoiser, or continue one that was cut off.

    Args:
        task: what is trained.
        latents: folder of the latent cache.
        scans: scan_id, modality, split and the 25 metadata fields of every scan.
        statistics: mean and standard deviation of the numeric fields.
        job: where it runs; its folder receives model.safetensors (EMA weights), config.json,
            standard.safetensors, history.csv, last/.

    Returns:
        Speed and memory, for the record.

    Raises:
        UserError: settings and latents do not fit, a split is empty, or training diverges.
    """
    cache = Latents(latents)
    standard = Standard.of(task.latents, Moments.read(latents), cache.space.scale)
    objective = StageB(task, cache, standard, scans, statistics)
    for loadable in (job.folder, job.folder / "last"):
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

    return train(objective, Plan(task.name, task.seed, task.training, config, job))


class StageB(Averaged):
    """The objective of 2.5.4: the denoiser predicts the process's target, and is averaged.

    x_t and the target are the process's (`wfdm.processes`), t is drawn uniformly and then shifted.
    `conditioning_dropout` hides all metadata of some items: to the network a scan of which nothing
    is recorded, so guidance needs no null class. The modality stays.
    See `wfdm.training.loop.Objective` for the attributes.
    """

    def __init__(
        self,
        task: Task,
        cache: Latents,
        standard: Standard,
        scans: pd.DataFrame,
        statistics: Statistics,
    ) -> None:
        training = task.training
        self.task, self.standard = task, standard
        self.noising = Noising(task.process, cache.space.shape, training.loss)
        ordered = scans.sort_values("scan_id")
        fit, judge = (of_split(ordered, split) for split in ("train", "validation"))
        self.modalities = [name for name in MODALITIES if name in set(fit["modality"])]
        copies = planted(fit["scan_id"], training.copies, task.seed, task.name)
        drawn = Conditioned.of(cache, repeated(fit, copies), statistics)
        self.data: Draws = BalancedDraws(drawn, training.balance, task.posterior)
        order = generator_for(task.seed, "validation", task.name).permutation(len(judge))
        chosen = judge.iloc[order[: training.validation_scans]]
        self.judged = Conditioned.of(cache, chosen, statistics)
        with seeded_weights(seed_for(task.seed, "initial weights", task.name)):
            model = folder.build(task.network, cache.space.shape)
        super().__init__(model, training)
        self.validation_size = len(chosen)
        own = [f"val_loss_{name}" for name in MODALITIES if name in self.judged.modalities]
        swapped = ["val_other_modality", "val_other_metadata"]
        errors = [*(f"x0_{time:g}" for time in TIMES), "x0_modality_mean", "x0_overall_mean"]
        self.columns = ["val_loss", *own, *swapped, *errors]

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Update the denoiser on one batch, then its average."""
        uniform, noise = self.noising.draw(batch["z"], generator)
        told = Conditions.from_dict(batch)
        if dropout := self.task.training.conditioning_dropout:
            kept = torch.rand(len(noise), device=noise.device, generator=generator) >= dropout
            told = replace(told, mask=told.mask * kept[:, None])
        self.standard = self.standard.to(noise.device)
        loss = self._loss(run.modules["model"], batch["z"], uniform, noise, told)
        self.update(run, loss)
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
        following = next_modality(name, self.modalities)
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
                error = self._restored(z, time, noise, told) - z
                found[f"x0_{time:g}"] = error.square().mean()
        for kind, mean in (
            ("modality", self.standard.modality_mean[told.modality]),
            ("overall", self.standard.overall_mean),
        ):
            found[f"x0_{kind}_mean"] = (mean - z).square().mean()
        return {name: float(value) for name, value in found.items()}

    def _loss(
        self, model: nn.Module, z: Tensor, uniform: Tensor, noise: Tensor, told: Conditions
    ) -> Tensor:
        """Return the loss of a batch of scaled latents z at the times that `uniform` leads to."""
        x0 = self.standard.seen(z, told.modality)
        return self.noising.loss(partial(model, conditions=told), x0, uniform, noise)

    def _restored(self, z: Tensor, time: float, noise: Tensor, told: Conditions) -> Tensor:
        """Return the scaled latent that the average predicts from z, noised to `time`."""
        x0 = self.standard.seen(z, told.modality)
        answer = partial(self.modules["ema"], conditions=told)
        return self.standard.scaled(self.noising.restored(answer, x0, time, noise), told.modality)
