"""HA-GAN trained on a study's own scans (Sun et al. 2022, arXiv 2008.01910, IEEE JBHI 26(8)).

A training step sees a slab of an eighth of the slices in full, S^H(x; r), and the whole volume at a
quarter of the side, x^L; of both the generator makes its own from noise z and modality y,

    x'_r = G^H(S^L(A; r)),    x'^L = G^L(A),    A = G^A(z, y).

The discriminators judge both together, by the mean of their logits; with the binary cross entropy,

    L_D = softplus(-D(x_r, x^L, r, y)) + softplus(D(x'_r, x'^L, r, y))
    L_G = softplus(-D(x'_r, x'^L, r, y))
    L^H = |S^H(x; r) - G^H(E^H(S^H(x; r)))|
    L^G = |S^H(x; r) - G^H(S^L(A'; r))| + |x^L - G^L(A')|,    A' = G^A(E^G(E^H(x)), y)

with mean absolute differences. L_G is minimised over the generator, L^H and L^G over their encoders
alone, as the authors' code does, and L_D over the discriminators, on the same samples. Who is moved
by one of the three is moved by no other: a step of L_G + lambda (L^H + L^G) does what they do in
three. Lambda = 5 tells only how the clipping shares the gradient. What is conditional is ours: the
modality follows the noise, and the code, one-hot (`hagan_folder`), and the discriminators have a
projection of it (`hagan_discriminators`).

What is judged and kept is the moving average of generator and encoders, by a proper score of its
samples: an adversarial loss tells nothing of a model alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from wfdm.baselines.hagan_discriminators import Discriminator
from wfdm.baselines.hagan_folder import (
    Networks,
    config_text,
    in_cube,
    one_hot,
    out_of_cube,
    slab_of,
    small_of,
    still,
)
from wfdm.config.gans import GanTraining, HaganNetwork
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES
from wfdm.seeds import generator_for, seed_for, seeded_weights, torch_generator
from wfdm.training.averaged import Averaged
from wfdm.training.conditioned import Balanced, next_modality
from wfdm.training.loop import Batch, Run, train
from wfdm.training.plan import Job, Plan
from wfdm.training.splits import of_split
from wfdm.training.volume_cache import Volumes

BETAS = (0.0, 0.999)  # of Adam; authors' code
STRIDE = 4  # voxels of a side that one feature stands for: slabs begin at its multiples
DRAWN = 2  # samples that the score of a validation scan is made of


@dataclass(frozen=True)
class Task:
    """What is trained: the settings of one GAN.

    Attributes:
        name: of the row of `gans`; part of every draw's seed.
        seed: the study's.
        network: its sizes.
        training: how it is trained.
        volume: the study's tensor.
        spacing: of its voxels, in mm.
    """

    name: str
    seed: int
    network: HaganNetwork
    training: GanTraining
    volume: VolumeSettings
    spacing: float


@dataclass(frozen=True)
class Files:
    """What a training reads beside the volumes.

    Attributes:
        cache: folder of the cache of standardised volumes; None for no cache.
        cache_mb: most that the cache holds.
    """

    cache: Path | None = None
    cache_mb: float = 0


def train_hagan(task: Task, volumes: pd.DataFrame, files: Files, job: Job) -> dict[str, float]:
    """Train HA-GAN, or continue a training that was cut off.

    Args:
        task: what is trained.
        volumes: scan_id, modality, path, sha256, split of the preprocessed scans.
        files: what else it reads.
        job: where it runs; its folder receives model.safetensors (the average at the lowest
            val_loss), config.json, history.csv, tensorboard/, and last/ with the state to continue
            from.

    Returns:
        Speed and memory, for the record.

    Raises:
        UserError: a split is empty, a volume is broken, the loss diverges.
    """
    objective = Hagan(task, volumes, files)
    shape = task.volume.shape
    config = config_text(task.name, task.network, objective.modalities, shape, task.spacing)
    return train(objective, Plan(task.name, task.seed, task.training, lambda _: config, job))


class BalancedVolumes:
    """Whole volumes with their modality, of which rare ones are drawn more often than they occur.

    Args:
        volumes: of the training split.
        modalities: (n,) number of each one's modality.
        balance: see `wfdm.training.conditioned.balanced_weights`.
    """

    def __init__(self, volumes: Volumes, modalities: np.ndarray, balance: float) -> None:
        self.volumes, self.modalities = volumes, modalities
        self.places = Balanced(modalities, balance)

    def draw(self, rng: np.random.Generator) -> Batch:
        """Return {"volume": (1, R, A, S) float32 in [0, 1], "modality": its number}."""
        index = self.places.draw(rng)
        volume = torch.from_numpy(self.volumes[index].astype(np.float32))
        return {"volume": volume, "modality": torch.tensor(self.modalities[index])}


class Hagan(Averaged):
    """The objective; see `wfdm.training.loop.Objective` for the attributes."""

    def __init__(self, task: Task, volumes: pd.DataFrame, files: Files) -> None:
        self.task, training, side = task, task.training, task.network.side
        fit, judge = (of_split(volumes, split) for split in ("train", "validation"))
        self.modalities = [name for name in MODALITIES if name in set(fit["modality"])]
        cached = Volumes(fit, task.volume, files.cache, files.cache_mb)
        numbers = fit["modality"].map(MODALITIES.index).to_numpy()
        self.data = BalancedVolumes(cached, numbers, training.balance)
        order = generator_for(task.seed, "validation", task.name).permutation(len(judge))
        self.judged = judge.iloc[order[: training.validation_scans]]
        self.real = Volumes(self.judged, task.volume, files.cache, files.cache_mb)
        with seeded_weights(seed_for(task.seed, "initial weights", task.name)):
            model = Networks(task.network)
            discriminator = Discriminator(side, 16 * task.network.channels, len(MODALITIES))
        super().__init__(model, training, BETAS)
        rate = training.learning_rate * training.discriminator_factor
        self.modules["discriminator"] = discriminator
        self.optimizers["discriminator"] = torch.optim.Adam(discriminator.parameters(), rate, BETAS)
        self.validation_size = len(self.judged)
        there = set(self.judged["modality"])
        own = [f"val_loss_{name}" for name in MODALITIES if name in there]
        self.columns = ["val_loss", *own, "val_other_modality", "val_spread", "val_reconstruction"]

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Minimise L_G, L^H and L^G over generator and encoders, then L_D."""
        training, side = self.task.training, self.task.network.side
        volume, told = in_cube(batch["volume"], side), one_hot(batch["modality"])
        noise = torch.randn(
            (len(volume), self.task.network.latent), device=volume.device, generator=generator
        )
        last = side - side // 8
        drawn = torch.randint(last // STRIDE + 1, (), device=volume.device, generator=generator)
        first = STRIDE * int(drawn)
        real = slab_of(volume, first), small_of(volume)
        slab, small, near, again, small_again = run.modules["model"](noise, told, volume, first)
        terms = {
            "adversarial": self._fool(run, slab, small, first / side, told),
            "reconstruction_slab": F.l1_loss(near, real[0]),
            "reconstruction": F.l1_loss(again, real[0]) + F.l1_loss(small_again, real[1]),
        }
        rebuilt = terms["reconstruction_slab"] + terms["reconstruction"]
        total = terms["adversarial"] + training.reconstruction_weight * rebuilt
        self.update(run, total)
        logits = run.modules["discriminator"](
            torch.cat([real[0], slab.detach()]),
            torch.cat([real[1], small.detach()]),
            first / side,
            torch.cat([told, told]),
        )
        of_real, of_fake = logits.float().chunk(2)
        terms["discriminator"] = F.softplus(-of_real).mean() + F.softplus(of_fake).mean()
        run.update("discriminator", terms["discriminator"], training.gradient_clip)
        return terms

    def validate(self, run: Run, index: int) -> dict[str, float]:
        """Return what one scan x of modality y says of the average, by column of the history.

            val_loss, val_loss_MODALITY   the energy score of samples of y (`energy_score`)
            val_other_modality            the same of samples of the next modality
            val_spread                    the distance of two samples: 0 where all are alike
            val_reconstruction            |x - G(E(x), y)| of the whole volume, mean absolute

        Noise belongs to the scan, so that values of different steps differ by the weights alone. A
        conditional generator loses by another's modality.
        """
        name, scan = (str(self.judged[key].iloc[index]) for key in ("modality", "scan_id"))
        device = run.fabric.device
        real = torch.from_numpy(self.real[index].astype(np.float32))[None].to(device)
        seed = seed_for(self.task.seed, "validation", scan)
        shape = (DRAWN, self.task.network.latent)
        noise = torch.randn(shape, generator=torch_generator(seed)).to(device)
        networks = self.modules["ema"]
        assert isinstance(networks, Networks)
        with run.fabric.autocast():
            code = networks.code(in_cube(real, self.task.network.side))
        score, spread = energy_score(self._made(run, noise, name), real)
        other, _ = energy_score(self._made(run, noise, next_modality(name, self.modalities)), real)
        found = {
            "val_loss": score,
            f"val_loss_{name}": score,
            "val_other_modality": other,
            "val_spread": spread,
            "val_reconstruction": (self._made(run, code, name) - real).abs().mean(),
        }
        return {key: float(value) for key, value in found.items()}

    def _fool(self, run: Run, slab: Tensor, small: Tensor, place: float, told: Tensor) -> Tensor:
        """Return softplus(-D(x')); the bare discriminator, since it is not updated by it."""
        with still(self.modules["discriminator"]) as discriminator, run.fabric.autocast():
            logits = discriminator(slab, small, place, told)
        return F.softplus(-logits.float()).mean()

    def _made(self, run: Run, z: Tensor, modality: str) -> Tensor:
        """Return the average's volumes (B, 1, R, A, S) in [0, 1] of noise or codes, one by one."""
        networks = self.modules["ema"]
        assert isinstance(networks, Networks)
        told = one_hot(torch.tensor([MODALITIES.index(modality)])).to(z.device)
        with run.fabric.autocast():
            cubes = [networks.made(each, told) for each in z.split(1)]
        return torch.cat([out_of_cube(cube.float(), self.task.volume.shape) for cube in cubes])


def energy_score(samples: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the energy score of samples and their spread, E|X - X'|.

    E|X - x| - E|X - X'| / 2 with |.| the root mean square over voxels, in [0, 1]. It is strictly
    proper: its expectation is least where the samples are distributed as the real volumes are
    (Gneiting and Raftery 2007, J Am Stat Assoc 102, equation 22), so a generator that makes one
    volume again and again cannot win it.

    Args:
        samples: (n, 1, R, A, S), n >= 2.
        real: (1, 1, R, A, S).
    """
    flat = samples.flatten(1)
    away = (flat - real.flatten(1)).square().mean(1).sqrt().mean()
    pairs = torch.pdist(flat) / flat.shape[1] ** 0.5
    spread = pairs.mean()
    return away - spread / 2, spread
