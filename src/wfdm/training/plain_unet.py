"""Train the plain U-Net that stands below a completion: the same draws, steps, batch and rate."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from wfdm.config.completions import CompletionTraining, PlainUNetSettings
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.latents.standard import Standard
from wfdm.models.denoisers import folder
from wfdm.models.plain_unet import PlainUNet, config_text
from wfdm.seeds import seed_for, seeded_weights
from wfdm.training.averaged import Averaged
from wfdm.training.cases import Cases, seen_sources
from wfdm.training.loop import Batch, Run, train
from wfdm.training.noising import LOSSES
from wfdm.training.plan import Job, Plan


@dataclass(frozen=True)
class UNetTask:
    """What is trained.

    Attributes:
        name: of the completion: its draws are the same.
        seed: the study's.
        network: of the U-Net.
        training: the completion's.
    """

    name: str
    seed: int
    network: PlainUNetSettings
    training: CompletionTraining


def train_plain_unet(
    task: UNetTask,
    denoiser: Path,
    latents: Path,
    scans: pd.DataFrame,
    job: Job,
) -> dict[str, float]:
    """Train the U-Net, or continue a training that was cut off.

    Args:
        task: what is trained.
        denoiser: folder of the completion's denoiser, which tells how latents are seen.
        latents: folder of the latent cache.
        scans: columns of the scan table without the person, and the split, of every encoded scan.
        job: where it runs; its folder receives model.safetensors (EMA weights), config.json,
            standard.safetensors, history.csv, last/.

    Returns:
        Speed and memory, for the record.

    Raises:
        UserError: network and latents do not fit, a split has no session with two modalities, or
            training diverges.
    """
    cache = Latents(latents)
    objective = Regression(task, denoiser, cache, scans)
    for loadable in (job.folder, job.folder / "last"):
        objective.standard.write(loadable)
    config = config_text(task.name, task.network, cache.space.shape[0])
    return train(objective, Plan(task.name, task.seed, task.training, lambda _: config, job))


class Regression(Averaged):
    """The missing latent from those there, in one pass; see `wfdm.training.loop.Objective`.

    The loss is of scaled latents, in units of their deviation from the modality's mean: a voxel
    counts by as much as it changes the volume.
    """

    def __init__(self, task: UNetTask, denoiser: Path, cache: Latents, scans: pd.DataFrame) -> None:
        training, sides = task.training, cache.space.shape[1:]
        levels = 2 ** (len(task.network.down) - 1)
        if any(side % levels for side in sides):
            raise UserError(
                f"completions.{task.name}.unet.down: of {len(task.network.down)} levels the sides "
                f"of the latents, {sides}, must be multiples of {levels}: give fewer"
            )
        config = folder.read_config(denoiser)
        self.standard = Standard.read(denoiser)
        self.cases = Cases.of(cache, scans, config, training, task.seed, task.name)
        self.data = self.cases.data
        self.distance = LOSSES[training.loss]
        with seeded_weights(seed_for(task.seed, "initial weights", task.name, "unet")):
            model = PlainUNet(task.network, cache.space.shape[0])
        super().__init__(model, training)
        self.validation_size = len(self.cases)
        own = [f"val_loss_{name}" for name in self.cases.judged_modalities]
        self.columns = ["val_loss", *own, "val_other_sources", "x0", "x0_modality_mean"]

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Update the network on one batch, then its average; nothing else is drawn."""
        self.standard = self.standard.to(batch["z"].device)
        with run.fabric.autocast():
            loss = self._loss(self._answer(run.modules["model"], batch), batch)
        self.update(run, loss)
        return {"loss": loss.detach()}

    def validate(self, run: Run, index: int) -> dict[str, float]:
        """Return what one scan says of the average, by column of the history.

        Beside the loss stand

            val_loss_MODALITY    the loss of the modality that is made
            val_other_sources    the loss with the sources of the next scan
            x0                   squared error of the answer, scaled latent
            x0_modality_mean     the same of the constant mean latent of the modality
        """
        batch, other = run.fabric.to_device((self.cases.told(index), self.cases.told(index + 1)))
        self.standard = self.standard.to(batch["z"].device)
        swapped = batch | {key: other[key] for key in ("sources", "there")}
        model, modality = self.modules["ema"], batch["modality"]
        with run.fabric.autocast():
            answer = self._answer(model, batch)
            loss = self._loss(answer, batch)
            found = {
                "val_loss": loss,
                f"val_loss_{self.cases.modality(index)}": loss,
                "val_other_sources": self._loss(self._answer(model, swapped), batch),
            }
        error = self.standard.scaled(answer, modality) - batch["z"]
        found["x0"] = error.square().mean()
        mean = self.standard.modality_mean[modality]
        found["x0_modality_mean"] = (mean - batch["z"]).square().mean()
        return {key: float(value) for key, value in found.items()}

    def _answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the latents that a network says, float32, as the denoiser sees them."""
        answer: Tensor = model(seen_sources(self.standard, batch), batch["modality"]).float()
        return answer

    def _loss(self, answer: Tensor, batch: Batch) -> Tensor:
        deviation = self.standard.deviation
        weights = deviation / deviation.square().mean().sqrt()
        true = self.standard.seen(batch["z"], batch["modality"])
        return self.distance(weights * answer, weights * true)
