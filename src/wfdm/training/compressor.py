"""Stage A: train a compressor (paper, 2.5.1 and 2.5.6)."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from wfdm.config.compressors import AdversarialSettings, CompressorTraining
from wfdm.config.stages import TrainCompressorStage
from wfdm.errors import UserError
from wfdm.models import feature_network, lpips, registry
from wfdm.models.pretrained import load_pretrained
from wfdm.seeds import seed_for
from wfdm.training import ema, losses, schedules
from wfdm.training.cache import Volumes
from wfdm.training.checkpointing import checkpoint_blocks
from wfdm.training.loop import Batch, Plan, Run, train, write_history
from wfdm.training.scans import Crops

FIXED_SCANS = 256  # that a compressor without training is measured on


@dataclass(frozen=True)
class Files:
    """What a training reads beside the volumes, and where it writes.

    Attributes:
        out: receives model.safetensors (at the lowest val_loss), config.json, history.csv,
            tensorboard/, and in last/ the newest weights and the state to continue from.
        perceptual: of the perceptual network, where settings name some: its weights; for LPIPS
            its backbone and its heads.
        pretrained: published weights of a compressor that is not trained here.
        cache: folder of the cache of standardised volumes; None for no cache.
        cache_mb: most that the cache holds.
    """

    out: Path
    perceptual: Sequence[Path] = ()
    pretrained: Path | None = None
    cache: Path | None = None
    cache_mb: float = 0


def train_compressor(
    stage: TrainCompressorStage,
    volumes: pd.DataFrame,
    files: Files,
    threads: int,
    workers: int,
    identity: str,
) -> dict[str, Any]:
    """Train one compressor, or continue; a fixed or pretrained one is only measured.

    Args:
        stage: seed, name, volume, architecture and training settings.
        volumes: scan_id, modality, path, sha256, split of the preprocessed scans.
        files: what else it reads, and where it writes.
        threads: CPU threads.
        workers: loader processes, 0 for none.
        identity: of settings, inputs and code; a kept state of another one is not continued.

    Returns:
        Speed and memory, for the record; empty where nothing was trained.

    Raises:
        UserError: a split is empty, sizes do not fit, a volume is broken, the loss diverges.
    """
    torch.set_num_threads(threads)
    if stage.training is None:
        _measure(stage, volumes, files)
        return {}
    objective = StageA(stage, stage.training, volumes, files)
    plan = Plan(
        name=stage.name,
        seed=stage.seed,
        steps=stage.training.steps,
        validate_every=stage.training.validate_every,
        folder=files.out,
        config=lambda _: registry.config_text(stage.architecture),
        identity=identity,
        precision=stage.training.precision,
        threads=threads,
        workers=workers,
    )
    return train(objective, plan)


class StageA:
    """The objective of 2.5.1: autoencoder and discriminator, updated in turn on each batch."""

    def __init__(
        self,
        stage: TrainCompressorStage,
        settings: CompressorTraining,
        volumes: pd.DataFrame,
        files: Files,
    ) -> None:
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(stage.seed, "train", stage.name, "weights"))
            model = registry.build(stage.architecture)
            _check_sizes(stage, settings, model.factor)
            self.modules: dict[str, nn.Module] = {"model": model}
            if settings.adversarial.weight:
                self.modules["discriminator"] = _discriminator(settings.adversarial)
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
        cached = Volumes(_of_split(volumes, "train"), stage.volume, files.cache, files.cache_mb)
        self.data = Crops(cached, settings.crop)
        self.batch_size = settings.batch_size
        self.schedule = partial(
            schedules.cosine, steps=settings.steps, warmup_steps=settings.warmup_steps
        )
        chosen = _to_validate(volumes, stage.seed, settings.validation_scans)
        self.validation = Volumes(chosen, stage.volume, files.cache, files.cache_mb)
        self.validation_size = len(self.validation)

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Minimise L_VAE over the autoencoder, then L_D over the discriminator."""
        real, weights = batch["volume"], self.settings
        fake, latent = run.modules["model"](real, generator)
        told = {"reconstruction": (fake - real).abs().mean(), **latent}
        total = told["reconstruction"]
        for name, term in latent.items():
            total = total + getattr(weights, f"{name}_weight") * term
        told |= {name: total.new_zeros(()) for name in self._further_terms}
        if self.perceptual is not None and run.step >= weights.perceptual.warmup_steps:
            told["perceptual"] = self.perceptual.to(fake.device)(real, fake)
            total = total + weights.perceptual.weight * told["perceptual"]
        judged = "discriminator" in told and run.step >= weights.adversarial.warmup_steps
        if judged:
            told["adversarial"] = self._fool(run, fake)
            total = total + weights.adversarial.weight * told["adversarial"]
        run.update("model", total, weights.gradient_clip)
        if weights.ema_decay is not None:
            decay = ema.warmed_decay(weights.ema_decay, run.step)
            ema.update(self.judged, self.modules["model"], decay)
        if judged:
            told["discriminator"] = self._discriminate(run, real, fake.detach())
        return told

    @property
    def _further_terms(self) -> list[str]:
        """The terms that start after their warm-up; told as zero until then."""
        adversarial = ["adversarial", "discriminator"] if "discriminator" in self.modules else []
        return ["perceptual", *adversarial] if self.perceptual is not None else adversarial

    def validate(self, run: Run, index: int) -> float:
        """Return L1 plus weighted perceptual loss of a whole volume's mean reconstruction."""
        volume = torch.from_numpy(self.validation[index].astype(np.float32))
        real = volume[None].to(run.fabric.device)
        with run.fabric.autocast():
            fake = self.judged.decode(self.judged.encode(real)[0])
        loss = (fake.float() - real).abs().mean()
        if self.perceptual is not None:
            distance = self.perceptual.to(real.device)(real, fake.float())
            loss = loss + self.settings.perceptual.weight * distance
        return float(loss)

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


def _discriminator(settings: AdversarialSettings) -> nn.Module:
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
    features, _, _ = feature_network.build(chosen.network, weights[0] if weights else None)
    return losses.Perceptual(features, chosen.stages)


def _check_sizes(stage: TrainCompressorStage, settings: CompressorTraining, factor: int) -> None:
    for crop, whole in zip(settings.crop, stage.volume.shape, strict=True):
        if crop > whole or crop % factor or whole % factor:
            raise UserError(
                f"compressors.{stage.name}.training.crop {settings.crop} must fit into "
                f"volume.shape {stage.volume.shape}, and both must be multiples of {factor}"
            )


def _of_split(volumes: pd.DataFrame, split: str) -> pd.DataFrame:
    chosen = volumes[volumes["split"] == split]
    if chosen.empty:
        raise UserError(f"no scan is in the {split} split; add people or change split.{split}")
    return chosen


def _to_validate(volumes: pd.DataFrame, seed: int, count: int) -> pd.DataFrame:
    """Return the first `count` validation scans by a seeded order of their names."""
    scans = _of_split(volumes, "validation")
    order = scans["scan_id"].map(lambda scan_id: seed_for(seed, "validate", scan_id))
    return scans.loc[order.sort_values().index[:count]]


@torch.no_grad()
def _measure(stage: TrainCompressorStage, volumes: pd.DataFrame, files: Files) -> None:
    """Write the folder of a compressor that is not trained; val_loss is the L1 distance."""
    if files.pretrained is None:
        model = registry.build(stage.architecture).eval()
    else:
        model = load_pretrained(stage.architecture, files.pretrained)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scans = Volumes(_to_validate(volumes, stage.seed, FIXED_SCANS), stage.volume, None, 0)
    distances = []
    model = model.to(device)
    for index in range(len(scans)):
        real = torch.from_numpy(scans[index].astype(np.float32))[None].to(device)
        distances.append(float((model.decode(model.encode(real)[0]) - real).abs().mean()))
    registry.save(files.out, model)
    history = [{"step": 0, "val_loss": sum(distances) / len(distances)}]
    write_history(files.out / "history.csv", history)
