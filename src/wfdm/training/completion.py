"""Train a control branch that makes a session's missing modalities; the denoiser stays as it is.

Zhang et al. 2023 (arXiv 2302.05543), on the sessions with two modalities or more: one is made, and
a random subset of the others is told.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from wfdm.config.completions import CompletionTraining
from wfdm.config.volumes import VolumeSettings
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.latents.standard import Standard
from wfdm.models.denoisers import branch_folder, folder
from wfdm.models.denoisers.branch import Branch
from wfdm.models.denoisers.branch_folder import About
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.controlled import answers
from wfdm.models.denoisers.unet import Denoiser
from wfdm.provenance.digests import sha256_of
from wfdm.seeds import seed_for, seeded_weights, torch_generator
from wfdm.training.averaged import Averaged
from wfdm.training.cases import Cases, seen_sources
from wfdm.training.loop import Batch, Run, train
from wfdm.training.noising import TIMES, Answer, Noising
from wfdm.training.plan import Job, Plan


@dataclass(frozen=True)
class Task:
    """What is trained: the settings of one completion.

    Attributes:
        name: of the completion; part of every draw's seed.
        seed: the study's.
        condition_channels: of the branch.
        direct_channels: of its direct path.
        training: how it is trained.
        volume: how volumes become tensors; it is kept beside the weights.
    """

    name: str
    seed: int
    condition_channels: int
    direct_channels: int
    training: CompletionTraining
    volume: VolumeSettings


def train_completion(
    task: Task,
    denoiser: Path,
    latents: Path,
    scans: pd.DataFrame,
    job: Job,
) -> dict[str, float]:
    """Train a branch, or continue one that was cut off.

    Args:
        task: what is trained.
        denoiser: folder of the trained denoiser.
        latents: folder of the latent cache.
        scans: columns of the scan table without the person, and the split, of every encoded scan.
        job: where it runs; its folder receives model.safetensors (EMA weights of the branch alone),
            config.json, history.csv, last/.

    Returns:
        Speed and memory, for the record.

    Raises:
        UserError: denoiser and latents do not fit, a split has no session with two modalities,
            or training diverges.
    """
    objective = StageC(task, denoiser, Latents(latents), scans)
    about = About(
        name=task.name,
        condition_channels=task.condition_channels,
        direct_channels=task.direct_channels,
        modalities=objective.modalities,
        volume=task.volume,
        denoiser=denoiser,
        denoiser_sha256=sha256_of(denoiser / "model.safetensors"),
    )
    config = partial(branch_folder.config_text, about)
    return train(objective, Plan(task.name, task.seed, task.training, config, job))


class StageC(Averaged):
    """The objective of stage B with a branch beside the frozen denoiser; the branch is averaged.

    The denoiser is no module of the training: its weights are neither changed nor kept in the
    state. See `wfdm.training.loop.Objective` for the attributes.
    """

    def __init__(self, task: Task, denoiser: Path, cache: Latents, scans: pd.DataFrame) -> None:
        training = task.training
        self.task = task
        network, config = folder.load(denoiser)
        if not isinstance(network, Denoiser):
            raise UserError(f"{denoiser}: a branch controls a U-Net of kind unet, and none else")
        made = config["latent_space"]["compressor_sha256"]
        if made != cache.space.compressor_sha256:
            raise UserError(f"{cache.folder}: are latents of another compressor than {denoiser}'s")
        self.denoiser, self.standard = network, Standard.read(denoiser)
        self.noising = Noising(config["process"], cache.space.shape, training.loss)
        self.cases = Cases.of(cache, scans, config, training, task.seed, task.name)
        self.modalities, self.data = self.cases.modalities, self.cases.data
        with seeded_weights(seed_for(task.seed, "initial weights", task.name)):
            model = Branch(
                network.settings,
                cache.space.shape[0],
                task.condition_channels,
                task.direct_channels,
            )
        model.start_as(network)
        super().__init__(model, training)
        self.validation_size = len(self.cases)
        own = [f"val_loss_{name}" for name in self.cases.judged_modalities]
        errors = [*(f"x0_{time:g}" for time in TIMES), "x0_modality_mean"]
        self.columns = ["val_loss", *own, "val_alone", "val_other_sources", *errors]

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Update the branch on one batch, then its average."""
        uniform, noise = self.noising.draw(batch["z"], generator)
        if share := self.task.training.pure_noise:
            drawn = torch.rand(len(uniform), device=uniform.device, generator=generator)
            uniform = torch.where(drawn < share, 1.0, uniform)
        self._move(noise.device)
        with run.fabric.autocast():
            loss = self._loss(run.modules["model"], batch, uniform, noise)
        self.update(run, loss)
        return {"loss": loss.detach()}

    def validate(self, run: Run, index: int) -> dict[str, float]:
        """Return what one scan says of the average, by column of the history.

        Noise and the subset that is told belong to the scan, the times are spread evenly over the
        scans. Beside the loss stand

            val_loss_MODALITY    the loss of the modality that is made
            val_alone            the loss of the denoiser without the branch: what it began with
            val_other_sources    the loss with the sources of the next scan
            x0_T                 squared error of the predicted z_0 at time T, scaled latent
            x0_modality_mean     the same of the constant mean latent of the modality
        """
        batch, other = (self.cases.told(each) for each in (index, index + 1))
        own = seed_for(self.task.seed, "validation", self.cases.scan_id(index))
        noise = torch.randn(batch["z"].shape, generator=torch_generator(own))
        uniform = torch.tensor([(index + 0.5) / self.validation_size])
        batch, other, uniform, noise = run.fabric.to_device((batch, other, uniform, noise))
        self._move(noise.device)
        swapped = batch | {key: other[key] for key in ("sources", "there")}
        model, name = self.modules["ema"], self.cases.modality(index)
        with run.fabric.autocast():
            loss = self._loss(model, batch, uniform, noise)
            found = {
                "val_loss": loss,
                f"val_loss_{name}": loss,
                "val_alone": self._loss(None, batch, uniform, noise),
                "val_other_sources": self._loss(model, swapped, uniform, noise),
            }
            for time in TIMES:
                error = self._restored(batch, time, noise) - batch["z"]
                found[f"x0_{time:g}"] = error.square().mean()
        mean = self.standard.modality_mean[batch["modality"]]
        found["x0_modality_mean"] = (mean - batch["z"]).square().mean()
        return {key: float(value) for key, value in found.items()}

    def _move(self, device: torch.device) -> None:
        """Bring what is not trained to where the batch is."""
        self.standard, self.denoiser = self.standard.to(device), self.denoiser.to(device)

    def _loss(
        self, model: nn.Module | None, batch: Batch, uniform: Tensor, noise: Tensor
    ) -> Tensor:
        """Return the loss of a batch at the times that `uniform` leads to; None: without branch."""
        x0 = self.standard.seen(batch["z"], batch["modality"])
        return self.noising.loss(self._answer(model, batch), x0, uniform, noise)

    def _restored(self, batch: Batch, time: float, noise: Tensor) -> Tensor:
        """Return the scaled latent that the average predicts from z, noised to `time`."""
        modality, answer = batch["modality"], self._answer(self.modules["ema"], batch)
        x0 = self.standard.seen(batch["z"], modality)
        return self.standard.scaled(self.noising.restored(answer, x0, time, noise), modality)

    def _answer(self, model: nn.Module | None, batch: Batch) -> Answer:
        """Return the denoiser, told a batch's conditions, and with a branch its sources too."""
        told = Conditions.from_dict(batch)
        if model is None:
            return partial(self.denoiser, conditions=told)
        sources = seen_sources(self.standard, batch)
        return partial(answers, self.denoiser, model, conditions=told, sources=sources)
