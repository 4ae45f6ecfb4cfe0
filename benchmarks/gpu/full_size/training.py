"""Training steps of both stages at full size, by the study's own objectives, without tables."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.optim import Adam

from benchmarks.gpu.full_size.measure import DEVICE, SEED, Row, default_arithmetic, repeat
from benchmarks.gpu.full_size.sizes import Sizes
from wfdm.config.compressors import CompressorTraining
from wfdm.data.metadata import load_schema
from wfdm.latents.standard import Standard
from wfdm.models.compressors import registry
from wfdm.models.denoisers.unet import Denoiser
from wfdm.models.features import medicalnet
from wfdm.training.averaged import Averaged
from wfdm.training.checkpointing import checkpoint_blocks
from wfdm.training.compressor import StageA, discriminator
from wfdm.training.denoiser import StageB
from wfdm.training.loop import Run
from wfdm.training.losses import Perceptual
from wfdm.training.noising import Noising


class DenoiserStep(StageB):
    """Stage B's step: noise, forward, velocity loss, backward, clip, Adam, average."""

    def __init__(self, sizes: Sizes) -> None:
        # Not the parent's: it wants a table of scans and a cache of latents.
        settings = sizes.denoiser
        self.task: Any = SimpleNamespace(training=settings.training, process=settings.process)
        self.noising = Noising(settings.process, sizes.latent, settings.training.loss)
        nothing = torch.zeros(4, 1, 1, 1, 1, device=DEVICE)
        self.standard = Standard(nothing, nothing[:1] + 1, nothing, nothing[:1])
        with DEVICE:
            model = Denoiser(settings.network, sizes.latent, load_schema())
        Averaged.__init__(self, model, settings.training)


class CompressorStep(StageA):
    """Stage A's step: L1, KL, perceptual and adversarial terms; both networks updated."""

    def __init__(self, sizes: Sizes, settings: CompressorTraining) -> None:
        # Not the parent's: it wants a table of volumes and files of weights.
        self.settings = settings
        with DEVICE:
            model = registry.build(sizes.wavelet)
            judge = discriminator(settings.adversarial)
        self.modules = {"model": model, "discriminator": judge}
        self.optimizers = {
            "model": Adam(model.parameters(), settings.learning_rate),
            "discriminator": Adam(judge.parameters(), settings.adversarial.learning_rate),
        }
        if settings.checkpointing:
            checkpoint_blocks(model)
        network = settings.perceptual.network
        assert network is not None
        features, _, _ = medicalnet.build(network, None)
        self.perceptual = Perceptual(features, settings.perceptual.stages).to(DEVICE)


def denoiser_rows(sizes: Sizes, before: Callable[[], None]) -> list[Row]:
    """Return stage B at three batches; `before` frees what the earlier rows hold."""
    told = {"latent": sizes.latent, "precision": sizes.denoiser.training.precision}
    return [
        Row(
            f"stage B step, batch {batch}",
            share,
            partial(_denoiser, sizes, batch, before),
            told | {"batch": batch},
        )
        for batch, share in ((8, 20.0), (1, 8.0), (4, 12.0))
    ]


def compressor_rows(sizes: Sizes) -> list[Row]:
    """Return stage A at two batches, with and without checkpointing."""
    told = {"crop": sizes.stage_a.crop, "precision": sizes.stage_a.precision}
    return [
        Row(
            f"stage A step, batch {batch}" + (", checkpointing" if checkpointing else ""),
            12.0,
            partial(compressor_step, sizes, batch, checkpointing),
            told | {"batch": batch, "checkpointing": checkpointing},
        )
        for batch, checkpointing in ((2, False), (2, True), (1, False), (1, True))
    ]


def _denoiser(
    sizes: Sizes, batch: int, before: Callable[[], None], allowed: float
) -> dict[str, Any]:
    before()
    torch.manual_seed(SEED)
    fields = len(load_schema().fields)
    items = {
        "z": torch.randn(batch, *sizes.latent),
        "modality": torch.arange(batch) % 2,
        "values": torch.zeros(batch, fields),
        "mask": torch.ones(batch, fields),
    }
    precision = sizes.denoiser.training.precision
    return _steps(DenoiserStep(sizes), items, precision, sizes, allowed)


def compressor_step(
    sizes: Sizes, batch: int, checkpointing: bool, allowed: float
) -> dict[str, Any]:
    """Time stage A's steps on a batch of crops, for at most so many seconds."""
    torch.manual_seed(SEED)
    settings = sizes.stage_a.model_copy(update={"checkpointing": checkpointing})
    items = {"volume": torch.rand(batch, 1, *settings.crop)}
    return _steps(CompressorStep(sizes, settings), items, settings.precision, sizes, allowed)


def _steps(
    objective: Any, items: dict[str, torch.Tensor], precision: Any, sizes: Sizes, allowed: float
) -> dict[str, Any]:
    """Time steps on one batch that is already on the device: what the loader costs is left out."""
    default_arithmetic()
    fabric = Fabric(accelerator=DEVICE.type, devices=1, precision=precision)
    modules = {
        name: fabric.setup_module(module)
        if any(parameter.requires_grad for parameter in module.parameters())
        else fabric.to_device(module)
        for name, module in objective.modules.items()
    }
    optimizers = {
        name: fabric.setup_optimizers(optimizer) for name, optimizer in objective.optimizers.items()
    }
    run = Run(fabric, modules, optimizers)
    batch = {name: item.to(DEVICE) for name, item in items.items()}
    generator = torch.Generator(DEVICE).manual_seed(SEED)

    def step(_: None) -> None:
        losses = objective.step(run, batch, generator)
        # Detached, as the study's loop does: a loss holds on to what it was computed from.
        told.update({name: loss.detach() for name, loss in losses.items()})
        run.step += 1

    told: dict[str, torch.Tensor] = {}
    found = repeat({"step": step}, sizes, allowed)
    count = len(next(iter(batch.values())))
    found["samples_per_s"] = float(f"{count / found['seconds']['whole']['mean']:.4g}")
    found["last_losses"] = {name: float(f"{float(loss):.4g}") for name, loss in told.items()}
    return found
