"""Stage A: train a compressor (paper, 2.5.1 and 2.5.6)."""

from functools import partial
from pathlib import Path

import pandas as pd
import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from wfdm.config.compressors import AdversarialSettings, CompressorTraining
from wfdm.config.stages import TrainCompressorStage
from wfdm.errors import UserError
from wfdm.models import feature_network, registry
from wfdm.seeds import seed_for
from wfdm.training import losses, schedules
from wfdm.training.loop import Batch, Plan, Run, train, write_history
from wfdm.training.scans import Crops, Volumes

FIXED_SCANS = 256  # that a compressor without training is measured on


def train_compressor(
    stage: TrainCompressorStage,
    volumes: pd.DataFrame,
    out: Path,
    perceptual_weights: Path | None,
    cache_mb: int,
    threads: int,
    workers: int,
    identity: str,
) -> None:
    """Train one compressor, or continue; a fixed one is only measured.

    Args:
        stage: seed, name, volume, architecture and training settings.
        volumes: scan_id, modality, path, split of the preprocessed scans.
        out: receives model.safetensors (at the lowest val_loss), config.json, history.csv, last/.
        perceptual_weights: file of the perceptual network's weights, where settings name some.
        cache_mb: memory for standardised volumes, shared by the loader processes.
        threads: CPU threads.
        workers: loader processes, 0 for none.
        identity: of settings, inputs and code; a kept state of another one is not continued.

    Raises:
        UserError: a split is empty, sizes do not fit, a volume is broken, the loss diverges.
    """
    torch.set_num_threads(threads)
    if stage.training is None:
        _measure(stage, volumes, out)
        return
    objective = StageA(stage, stage.training, volumes, perceptual_weights, cache_mb, workers)
    plan = Plan(
        name=stage.name,
        seed=stage.seed,
        steps=stage.training.steps,
        validate_every=stage.training.validate_every,
        folder=out,
        config=registry.config_text(stage.architecture),
        identity=identity,
        precision=stage.training.precision,
        threads=threads,
        workers=workers,
    )
    train(objective, plan)


class StageA:
    """The objective of 2.5.1: autoencoder and discriminator, updated in turn on each batch."""

    exported = "model"

    def __init__(
        self,
        stage: TrainCompressorStage,
        settings: CompressorTraining,
        volumes: pd.DataFrame,
        perceptual_weights: Path | None,
        cache_mb: int,
        workers: int,
    ) -> None:
        _check_sizes(stage, settings)
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(stage.seed, "train", stage.name, "weights"))
            self.model = registry.build(stage.architecture)
            self.modules: dict[str, nn.Module] = {"model": self.model}
            if settings.adversarial.weight:
                self.modules["discriminator"] = _discriminator(settings.adversarial)
        rates = {"model": settings.learning_rate}
        rates["discriminator"] = settings.adversarial.learning_rate
        self.optimizers = {
            name: torch.optim.Adam(module.parameters(), lr=rates[name])
            for name, module in self.modules.items()
        }
        self.perceptual = _perceptual(settings, perceptual_weights)
        cached = Volumes(_paths(volumes, "train"), stage.volume, cache_mb / max(1, workers))
        self.data = Crops(cached, settings.crop)
        self.batch_size = settings.batch_size
        self.schedule = partial(
            schedules.cosine, steps=settings.steps, warmup_steps=settings.warmup_steps
        )
        chosen = _validation_paths(volumes, stage.seed, settings.validation_scans)
        self.validation = Volumes(chosen, stage.volume, cache_mb)
        self.validation_size = len(self.validation)

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Minimise L_VAE over the autoencoder, then L_D over the discriminator."""
        real, weights = batch["volume"], self.settings
        fake, mean, std = run.modules["model"](real, generator)
        told = {"reconstruction": (fake - real).abs().mean(), "kl": losses.kl(mean, std)}
        total = told["reconstruction"] + weights.kl_weight * told["kl"]
        told |= {name: total.new_zeros(()) for name in self._further_terms}
        if self.perceptual is not None and run.step >= weights.perceptual.warmup_steps:
            told["perceptual"] = self.perceptual.to(fake.device)(real, fake)
            total = total + weights.perceptual.weight * told["perceptual"]
        judged = "discriminator" in told and run.step >= weights.adversarial.warmup_steps
        if judged:
            told["adversarial"] = self._fool(run, fake)
            total = total + weights.adversarial.weight * told["adversarial"]
        run.update("model", total, weights.gradient_clip)
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
        real = torch.from_numpy(self.validation[index]).float()[None].to(run.fabric.device)
        with run.fabric.autocast():
            fake = self.model.decode(self.model.encode(real)[0])
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


def _perceptual(settings: CompressorTraining, weights: Path | None) -> losses.Perceptual | None:
    if settings.perceptual.network is None:
        return None
    network, _, _ = feature_network.build(settings.perceptual.network, weights)
    return losses.Perceptual(network, settings.perceptual.stages)


def _check_sizes(stage: TrainCompressorStage, settings: CompressorTraining) -> None:
    for crop, whole in zip(settings.crop, stage.volume.shape, strict=True):
        if crop > whole or crop % 4 or whole % 4:
            raise UserError(
                f"compressors.{stage.name}.training.crop {settings.crop} must fit into "
                f"volume.shape {stage.volume.shape}, and both must be multiples of 4"
            )


def _paths(volumes: pd.DataFrame, split: str) -> list[str]:
    paths = volumes.loc[volumes["split"] == split, "path"].tolist()
    if not paths:
        raise UserError(f"no scan is in the {split} split; add people or change split.{split}")
    return paths


def _validation_paths(volumes: pd.DataFrame, seed: int, count: int) -> list[str]:
    """Return the first `count` validation scans by a seeded order of their names."""
    paths = _paths(volumes, "validation")
    scans = volumes.loc[volumes["split"] == "validation", "scan_id"]
    order = sorted(zip(scans, paths, strict=True), key=lambda s: seed_for(seed, "validate", s[0]))
    return [path for _, path in order[:count]]


def _measure(stage: TrainCompressorStage, volumes: pd.DataFrame, out: Path) -> None:
    """Write the folder of a compressor that has nothing to learn; val_loss is the L1 distance."""
    model = registry.build(stage.architecture).eval()
    scans = Volumes(_validation_paths(volumes, stage.seed, FIXED_SCANS), stage.volume, cache_mb=0)
    distances = []
    for index in range(len(scans)):
        real = torch.from_numpy(scans[index]).float()[None]
        distances.append(float((model.decode(model.encode(real)[0]) - real).abs().mean()))
    registry.save(out, model)
    write_history(out / "history.csv", [{"step": 0, "val_loss": sum(distances) / len(distances)}])
