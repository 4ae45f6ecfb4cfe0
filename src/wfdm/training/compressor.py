"""Stage A: train a compressor (paper, 2.5.1 and 2.5.6)."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from wfdm.accelerator import accelerator
from wfdm.config.compressors import AdversarialSettings, Architecture, CompressorTraining
from wfdm.config.volumes import VolumeSettings
from wfdm.errors import UserError
from wfdm.models.compressors import registry
from wfdm.models.features import lpips, medicalnet
from wfdm.seeds import seed_for, seeded_weights
from wfdm.training import ema, learning_rates, losses, results
from wfdm.training.checkpointing import checkpoint_blocks
from wfdm.training.crops import Crops
from wfdm.training.loop import Batch, Run, train
from wfdm.training.plan import Job, Plan
from wfdm.training.splits import of_split
from wfdm.training.volume_cache import Volumes

FIXED_SCANS = 256  # that a compressor without training is measured on


@dataclass(frozen=True)
class Task:
    """What is trained: the settings of one compressor.

    Attributes:
        name: of the compressor; part of every draw's seed.
        seed: the study's.
        volume: the tensor that it sees.
        architecture: what it is.
        training: how it is trained; None where there is nothing to learn.
    """

    name: str
    seed: int
    volume: VolumeSettings
    architecture: Architecture
    training: CompressorTraining | None


@dataclass(frozen=True)
class Files:
    """What a training reads beside the volumes.

    Attributes:
        perceptual: weights of the perceptual network, where the settings name some; for LPIPS the
            backbone, then the heads.
        pretrained: published weights of a compressor that is not trained here.
        cache: folder of the cache of standardised volumes; None for no cache.
        cache_mb: most that the cache holds.
    """

    perceptual: Sequence[Path] = ()
    pretrained: Path | None = None
    cache: Path | None = None
    cache_mb: float = 0


def train_compressor(
    task: Task,
    volumes: pd.DataFrame,
    files: Files,
    job: Job,
) -> dict[str, Any]:
    """Train one compressor, or continue; a fixed or pretrained one is only measured.

    Args:
        task: what is trained.
        volumes: scan_id, modality, path, sha256, split of the preprocessed scans.
        files: what else it reads, and where it writes.
        job: where it runs; its folder receives model.safetensors (at the lowest val_loss),
            config.json, history.csv, tensorboard/, and in last/ the newest weights and the state
            to continue from.

    Returns:
        Speed and memory, for the record; empty where nothing was trained.

    Raises:
        UserError: a split is empty, sizes do not fit, a volume is broken, the loss diverges.
    """
    torch.set_num_threads(job.threads)
    if task.training is None:
        if job.start is not None:
            raise UserError(f"compressors.{task.name} is not trained: leave out --from")
        _measure(task, volumes, files, job.folder)
        return {}
    objective = StageA(task, task.training, volumes, files)
    config = registry.config_text(task.architecture)
    return train(objective, Plan(task.name, task.seed, task.training, lambda _: config, job))


class StageA:
    """The objective of 2.5.1: autoencoder and discriminator, updated in turn on each batch."""

    def __init__(
        self,
        task: Task,
        settings: CompressorTraining,
        volumes: pd.DataFrame,
        files: Files,
    ) -> None:
        self.settings = settings
        with seeded_weights(seed_for(task.seed, "train", task.name, "weights")):
            model = registry.build(task.architecture)
            _check_sizes(task, settings, model.factor)
            self.modules: dict[str, nn.Module] = {"model": model}
            if settings.adversarial.weight:
                self.modules["discriminator"] = discriminator(settings.adversarial)
        rates = {"model": settings.learning_rate}
        rates["discriminator"] = settings.adversarial.learning_rate
        self.optimizers = {
            name: torch.optim.Adam(module.parameters(), lr=rates[name])
            for name, module in self.modules.items()
        }
        if settings.checkpointing:
            checkpoint_blocks(model)
        self.judged, self.exported = model, "model"
        if settings.ema_decay is not None:
            self.judged, self.exported = copy.deepcopy(model).requires_grad_(False), "ema"
            self.modules["ema"] = self.judged
        self.perceptual = _perceptual(settings, files.perceptual)
        cached = Volumes(of_split(volumes, "train"), task.volume, files.cache, files.cache_mb)
        self.data = Crops(cached, settings.crop)
        self.batch_size = settings.batch_size
        self.schedule = partial(
            learning_rates.cosine, steps=settings.steps, warmup_steps=settings.warmup_steps
        )
        chosen = _to_validate(volumes, task.seed, settings.validation_scans)
        self.validation = Volumes(chosen, task.volume, files.cache, files.cache_mb)
        self.validation_size, self.columns = len(self.validation), ["val_loss"]

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Minimise L_VAE over the autoencoder, then L_D over the discriminator."""
        real, weights = batch["volume"], self.settings
        fake, latent = run.modules["model"](real, generator)
        terms = {"reconstruction": (fake - real).abs().mean(), **latent}
        total = terms["reconstruction"]
        for name, term in latent.items():
            total = total + getattr(weights, f"{name}_weight") * term
        terms |= {name: total.new_zeros(()) for name in self._further_terms}
        if self.perceptual is not None and run.step >= weights.perceptual.warmup_steps:
            terms["perceptual"] = self.perceptual.to(fake.device)(real, fake)
            total = total + weights.perceptual.weight * terms["perceptual"]
        judged = "discriminator" in terms and run.step >= weights.adversarial.warmup_steps
        if judged:
            terms["adversarial"] = self._fool(run, fake)
            total = total + weights.adversarial.weight * terms["adversarial"]
        made = run.update("model", total, weights.gradient_clip)
        if made and weights.ema_decay is not None:
            decay = ema.warmed_decay(weights.ema_decay, run.step)
            ema.update(self.judged, self.modules["model"], decay)
        if judged:
            terms["discriminator"] = self._discriminate(run, real, fake.detach())
        return terms

    @property
    def _further_terms(self) -> list[str]:
        """The terms that start after their warm-up; zero until then."""
        adversarial = ["adversarial", "discriminator"] if "discriminator" in self.modules else []
        return ["perceptual", *adversarial] if self.perceptual is not None else adversarial

    def validate(self, run: Run, index: int) -> dict[str, float]:
        """Return L1 plus weighted perceptual loss of a whole volume's mean reconstruction."""
        volume = torch.from_numpy(self.validation[index].astype(np.float32))
        real = volume[None].to(run.fabric.device)
        with run.fabric.autocast():
            fake = self.judged.decode(self.judged.encode(real)[0])
        loss = (fake.float() - real).abs().mean()
        if self.perceptual is not None:
            distance = self.perceptual.to(real.device)(real, fake.float())
            loss = loss + self.settings.perceptual.weight * distance
        return {"val_loss": float(loss)}

    def _fool(self, run: Run, fake: Tensor) -> Tensor:
        """Return L_adv^G; the bare discriminator, since only the autoencoder is updated by it."""
        discriminator = self.modules["discriminator"].requires_grad_(False)
        with run.fabric.autocast():
            logits = discriminator(fake)[-1]
        discriminator.requires_grad_(True)
        return losses.adversarial_generator(logits.float())

    def _discriminate(self, run: Run, real: Tensor, fake: Tensor) -> Tensor:
        """Update the discriminator and return L_adv^D."""
        logits = run.modules["discriminator"](torch.cat((real, fake)))[-1]
        loss = losses.adversarial_discriminator(*logits.chunk(2))
        run.update("discriminator", loss, self.settings.gradient_clip)
        return loss


def discriminator(settings: AdversarialSettings) -> nn.Module:
    """Return the patch discriminator: volumes (B, 1, R, A, S) to one logit per patch, last."""
    # Instance normalisation as in MAISI's recipe: nothing mixes the real and the fake half of a
    # batch, and there are no running statistics.
    return PatchDiscriminator(
        spatial_dims=3,
        in_channels=1,
        channels=settings.channels,
        num_layers_d=settings.layers,
        norm="INSTANCE",
    )


def _perceptual(settings: CompressorTraining, weights: Sequence[Path]) -> nn.Module | None:
    chosen = settings.perceptual
    if chosen.lpips is not None:
        return lpips.load(chosen.lpips, *weights)
    if chosen.network is None:
        return None
    features, _, _ = medicalnet.build(chosen.network, weights[0] if weights else None)
    return losses.Perceptual(features, chosen.stages)


def _check_sizes(task: Task, settings: CompressorTraining, factor: int) -> None:
    for crop, whole in zip(settings.crop, task.volume.shape, strict=True):
        if crop > whole or crop % factor or whole % factor:
            raise UserError(
                f"compressors.{task.name}.training.crop {settings.crop} must fit into "
                f"volume.shape {task.volume.shape}, and both must be multiples of {factor}"
            )


def _to_validate(volumes: pd.DataFrame, seed: int, count: int) -> pd.DataFrame:
    """Return the first `count` validation scans by a seeded order of their names."""
    scans = of_split(volumes, "validation")
    order = scans["scan_id"].map(lambda scan_id: seed_for(seed, "validate", scan_id))
    return scans.loc[order.sort_values().index[:count]]


@torch.no_grad()
def _measure(task: Task, volumes: pd.DataFrame, files: Files, out: Path) -> None:
    """Write the folder of a compressor that is not trained; val_loss is the L1 distance."""
    if files.pretrained is None:
        model = registry.build(task.architecture).eval()
    else:
        published = import_module(task.architecture.published)
        model = published.load_pretrained(task.architecture, files.pretrained)
    device = accelerator()
    scans = Volumes(_to_validate(volumes, task.seed, FIXED_SCANS), task.volume, None, 0)
    distances = []
    model = model.to(device)
    for index in range(len(scans)):
        real = torch.from_numpy(scans[index].astype(np.float32))[None].to(device)
        distances.append(float((model.decode(model.encode(real)[0]) - real).abs().mean()))
    registry.save(out, model)
    history = [{"step": 0, "val_loss": sum(distances) / len(distances)}]
    results.write_history(out, history)
