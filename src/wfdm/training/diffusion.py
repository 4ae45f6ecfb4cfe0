"""Stage B: train the conditional denoiser on scaled latents (paper, 2.5.4-2.5.6)."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from wfdm.config.stages import TrainDiffusionStage
from wfdm.data.metadata import Statistics, encode, load_schema
from wfdm.data.table import MODALITY_IDS
from wfdm.errors import UserError
from wfdm.models.unet import Denoiser, check_settings, describe
from wfdm.sampling.samplers import interpolate
from wfdm.sampling.schedules import spatial_voxels, time_shift
from wfdm.seeds import generator_for, seed_for
from wfdm.training import ema
from wfdm.training.latents import Latents
from wfdm.training.loop import Batch, Draws, Plan, Run, train
from wfdm.training.schedules import polynomial

LOSSES = {"l1": functional.l1_loss, "l2": functional.mse_loss}


def train_diffusion(
    stage: TrainDiffusionStage,
    latents: Path,
    scans: pd.DataFrame,
    statistics: Statistics,
    out: Path,
    threads: int,
    workers: int,
    identity: str,
) -> None:
    """Train a generator, or continue one that was cut off; write it into `out`.

    Args:
        stage: the settings.
        latents: folder of the latent cache.
        scans: scan_id, modality, split and the 25 metadata fields of every scan.
        statistics: mean and standard deviation of the numeric fields.
        out: receives model.safetensors (EMA weights), config.json, history.csv, last/.
        threads: CPU threads.
        workers: loader processes.
        identity: digest of settings, inputs and code; see `wfdm.training.loop`.

    Raises:
        UserError: settings and latents do not fit, a split is empty, or training diverges.
    """
    cache = Latents(latents)
    check_settings(stage.unet, cache.space.shape, f"generators.{stage.name}")
    plan = Plan(
        name=stage.name,
        seed=stage.seed,
        steps=stage.training.steps,
        validate_every=stage.training.validate_every,
        folder=out,
        config=partial(_config, stage, cache, statistics),
        identity=identity,
        precision=stage.training.precision,
        threads=threads,
        workers=workers,
    )
    train(RectifiedFlow(stage, cache, scans, statistics), plan)


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
    """Latents with their conditions c = (modality, values, mask) (paper, equation 3)."""

    cache: Latents
    scan_ids: list[str]
    modalities: np.ndarray
    values: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, cache: Latents, scans: pd.DataFrame, statistics: Statistics) -> "Conditioned":
        """Encode the conditions of `scans` once. Raises UserError for a scan without latent."""
        lost = [scan_id for scan_id in scans["scan_id"] if scan_id not in cache]
        if lost:
            raise UserError(f"{cache.folder}: no latent of {lost[0]} and {len(lost) - 1} more")
        rows: list[Any] = scans.to_dict("records")
        coded = [encode(row, statistics) for row in rows]
        values, mask = (np.stack(part) for part in zip(*coded, strict=True))
        modalities = scans["modality"].map(MODALITY_IDS).to_numpy()
        return cls(cache, list(scans["scan_id"]), modalities, values, mask)

    def item(self, index: int) -> Batch:
        """Return one scan's scaled latent and conditions, without a batch axis."""
        return {
            "z": torch.from_numpy(self.cache.scaled_mean(self.scan_ids[index])),
            "modality": torch.tensor(self.modalities[index]),
            "values": torch.from_numpy(self.values[index]),
            "mask": torch.from_numpy(self.mask[index]),
        }


class BalancedDraws:
    """Draw training scans so that rare modalities are seen (paper, 2.5.6)."""

    def __init__(self, scans: Conditioned, balance: float) -> None:
        self.scans = scans
        self.cumulative = np.cumsum(balanced_weights(scans.modalities, balance))

    def draw(self, rng: np.random.Generator) -> Batch:
        """Return one item."""
        place = np.searchsorted(self.cumulative, rng.random(), side="right")
        return self.scans.item(min(int(place), len(self.cumulative) - 1))


class RectifiedFlow:
    """The objective of the paper's final model: velocity on straight paths, with an EMA.

    x_t = (1 - t) x0 + t noise with t uniform, then shifted for the latent's size; the target is
    x0 - noise. See `wfdm.training.loop.Objective` for the attributes.
    """

    exported = "ema"

    def __init__(
        self,
        stage: TrainDiffusionStage,
        cache: Latents,
        scans: pd.DataFrame,
        statistics: Statistics,
    ) -> None:
        training = stage.training
        self.stage = stage
        self.shift = partial(
            time_shift,
            voxels=spatial_voxels(cache.space.shape),
            reference_voxels=stage.process.reference_voxels,
        )
        self.loss = LOSSES[training.loss]
        fit, judge = (_of_split(scans, split) for split in ("train", "validation"))
        self.data: Draws = BalancedDraws(Conditioned.of(cache, fit, statistics), training.balance)
        order = generator_for(stage.seed, "validation", stage.name).permutation(len(judge))
        chosen = judge.iloc[order[: training.validation_scans]]
        self.judged = Conditioned.of(cache, chosen, statistics)
        torch.manual_seed(seed_for(stage.seed, "initial weights", stage.name))
        model = Denoiser(stage.unet, cache.space.shape[0], load_schema())
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
        loss = self._velocity_loss(run.modules["model"], batch, self.shift(t), noise)
        run.update("model", loss, self.stage.training.gradient_clip)
        decay = ema.warmed_decay(self.stage.training.ema_decay, run.step)
        ema.update(self.modules["ema"], self.modules["model"], decay)
        return {"loss": loss.detach()}

    def validate(self, run: Run, index: int) -> float:
        """Return the loss of one scan under the average.

        Noise belongs to the scan and the times are spread evenly over the scans, so that losses
        of different steps differ by the weights alone.
        """
        batch = {key: value[None] for key, value in self.judged.item(index).items()}
        seed = seed_for(self.stage.seed, "validation", self.judged.scan_ids[index])
        noise = torch.randn(batch["z"].shape, generator=torch.Generator().manual_seed(seed))
        t = self.shift(torch.tensor([(index + 0.5) / self.validation_size]))
        batch, t, noise = run.fabric.to_device((batch, t, noise))
        with run.fabric.autocast():
            return float(self._velocity_loss(self.modules["ema"], batch, t, noise))

    def _velocity_loss(self, model: nn.Module, batch: Batch, t: Tensor, noise: Tensor) -> Tensor:
        noisy = interpolate(batch["z"], noise, t)
        velocity = model(noisy, t, batch["modality"], batch["values"], batch["mask"])
        return self.loss(velocity.float(), batch["z"] - noise)


def _of_split(scans: pd.DataFrame, split: str) -> pd.DataFrame:
    rows = scans[scans["split"] == split].sort_values("scan_id")
    if rows.empty:
        raise UserError(f"split: no {split} scan, which training needs: give more people")
    return rows


def _config(
    stage: TrainDiffusionStage, cache: Latents, statistics: Statistics, folder: Path
) -> str:
    """Return the text of config.json: all that sampling needs beside the two models' weights."""
    content = {
        "kind": "diffusion",
        "name": stage.name,
        "unet": stage.unet.model_dump(mode="json"),
        "process": stage.process.model_dump(mode="json"),
        "latent_space": cache.space.as_dict(folder),
        "metadata_fields": describe(load_schema()),
        "statistics": {name: list(pair) for name, pair in statistics.items()},
    }
    return json.dumps(content, indent=1) + "\n"
