"""Distil a rectified flow for few steps: reflow on its own pairs (Liu et al. 2022, section 2.2).

The student starts with its teacher's weights and learns the velocity of straight lines between each
noise z_1 and the latent z_0 that the teacher carries that very noise to (arXiv 2209.03003):

    min E | v(x_t, t) - (z_0 - z_1) |^2,    x_t = (1 - t) z_0 + t z_1.

Where no two lines cross the minimum is zero, and one step of Euler's goes to the end.

Its network says all of the velocity, also where its teacher's was added to the best linear answer
to data and a noise of its own (`wfdm.processes.rflow`). Of ends of unit variance with correlation r
that answer is (1 - 2t) (1 - r) / ((1 - t)^2 + t^2 + 2 t (1 - t) r) x_t. A flow's ends belong
together: r is near 1, and it vanishes. The teacher's network alone is then near the lines already.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wfdm.config.distilled import DistilledTraining, straightened
from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.latents.pairs import Pairs
from wfdm.latents.space import LatentSpace
from wfdm.latents.standard import Standard
from wfdm.models.denoisers import folder
from wfdm.models.denoisers.conditions import Conditions
from wfdm.processes.samplers import euler
from wfdm.provenance.digests import sha256_of
from wfdm.seeds import generator_for
from wfdm.training.averaged import Averaged
from wfdm.training.loop import Batch, Run, train
from wfdm.training.noising import Answer, Noising
from wfdm.training.plan import Job, Plan

FEW = (1, 2, 4)
"""steps of Euler's whose ends the history compares with the pairs'"""


@dataclass(frozen=True)
class Task:
    """What is trained: the settings of one student.

    Attributes:
        name: of the student; part of every draw's seed.
        seed: the study's.
        training: how it is trained.
    """

    name: str
    seed: int
    training: DistilledTraining


def distil(task: Task, teacher: Path, tables: list[Path], job: Job) -> dict[str, float]:
    """Train a student, or continue one that was cut off.

    Args:
        task: what is trained.
        teacher: folder of the trained denoiser.
        tables: of all shards of its pairs.
        job: where it runs; its folder receives model.safetensors (EMA weights), config.json,
            standard.safetensors, history.csv, last/: a denoiser like any other.

    Returns:
        Speed and memory, for the record.

    Raises:
        UserError: the teacher is no rectified flow, the pairs are not in its space, or training
            diverges.
    """
    objective = Reflow(task, teacher, tables)
    for loadable in (job.folder, job.folder / "last"):
        objective.standard.write(loadable)
    told = {"name": objective.config["name"], "sha256": sha256_of(teacher / "model.safetensors")}

    def config(where: Path) -> str:
        own, space = objective.config, objective.space
        return folder.config_text(
            task.name,
            own["network"],
            objective.process,
            0.0,
            own["modalities"],
            own["age_group_from_age"],
            own["statistics"],
            space.as_dict(where),
            told,
        )

    return train(objective, Plan(task.name, task.seed, task.training, config, job))


@dataclass(frozen=True)
class Some:
    """Pairs that a training draws, all alike: their places in `pairs`."""

    pairs: Pairs
    places: np.ndarray

    def draw(self, rng: np.random.Generator) -> Batch:
        """Return one item."""
        return self.pairs.item(int(self.places[rng.integers(len(self.places))]))


class Reflow(Averaged):
    """The objective of reflow; the average is judged on pairs that are held out.

    The teacher is no module of the training. See `wfdm.training.loop.Objective` for the attributes.
    """

    def __init__(self, task: Task, teacher: Path, tables: list[Path]) -> None:
        self.teacher, self.config = folder.load(teacher)
        if self.config["process"].kind != "rflow":
            raise UserError(
                f"{teacher}: is of process {self.config['process'].kind}; reflow straightens a "
                "rectified flow: give a denoiser of process rflow"
            )
        self.space = LatentSpace.from_dict(self.config["latent_space"], teacher)
        self.standard = Standard.read(teacher)
        how = (self.space.shape, task.training.loss)
        self.process = straightened(self.config["process"])
        self.noising = Noising(self.process, *how)
        self.its_noising = Noising(self.config["process"], *how)
        known = (self.config["statistics"], self.config["noise"], task.seed)
        self.pairs = Pairs(tables, self.space, *known)
        order = generator_for(task.seed, "validation", task.name).permutation(len(self.pairs))
        self.held, rest = np.split(order, [task.training.validation_scans])
        if not len(rest):
            told = f"{tables[0].parent}: all {len(order)} pairs are held out"
            raise UserError(f"{told}: make more, or hold out fewer")
        self.data = Some(self.pairs, np.sort(rest))
        network = folder.build(self.config["network"], self.space.shape)
        network.load_state_dict(self.teacher.state_dict())
        super().__init__(network, task.training)
        self.validation_size = len(self.held)
        own = {self.pairs.modalities[place] for place in self.held}
        losses = [f"val_loss_{name}" for name in MODALITIES if name in own]
        ends = [f"{who}_{steps}" for who in ("end", "teacher") for steps in FEW]
        self.columns = ["val_loss", *losses, "val_teacher", *ends, "end_modality_mean"]
        self._of_teacher: dict[int, dict[str, Tensor]] = {}

    def step(self, run: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Update the student on one batch, then its average."""
        noise = batch["noise"]
        uniform = torch.rand(len(noise), device=noise.device, generator=generator)
        self.standard = self.standard.to(noise.device)
        loss = self._loss(run.modules["model"], self.noising, batch, uniform)
        self.update(run, loss)
        return {"loss": loss.detach()}

    def validate(self, run: Run, index: int) -> dict[str, float]:
        """Return what one held-out pair says of the average, by column of the history.

        The times of the loss are spread evenly over the pairs. Beside the loss stand

            val_loss_MODALITY    the loss of the pair's own modality
            val_teacher          the teacher's loss: how crooked its paths are
            end_N                where N steps of Euler's end, less the pair's z_0: the norm of the
                                 difference of scaled latents as a share of z_0's
            teacher_N            the same of the teacher
            end_modality_mean    the same of the constant mean latent of the modality
        """
        place = int(self.held[index])
        batch = {key: value[None] for key, value in self.pairs.item(place).items()}
        uniform = torch.tensor([(index + 0.5) / self.validation_size])
        batch, uniform = run.fabric.to_device((batch, uniform))
        self.standard = self.standard.to(uniform.device)
        self.teacher = self.teacher.to(uniform.device)
        with run.fabric.autocast():
            if index not in self._of_teacher:  # it does not change
                its = self._judged(self.teacher, self.its_noising, batch, uniform)
                self._of_teacher[index] = its
            own = self._judged(self.modules["ema"], self.noising, batch, uniform)
        first = self._of_teacher[index]
        mean = self.standard.modality_mean[batch["modality"]]
        found = {
            "val_loss": own["loss"],
            f"val_loss_{self.pairs.modalities[place]}": own["loss"],
            "val_teacher": first["loss"],
            **{f"end_{steps}": own[f"{steps}"] for steps in FEW},
            **{f"teacher_{steps}": first[f"{steps}"] for steps in FEW},
            "end_modality_mean": _apart(mean, batch["z"]),
        }
        return {name: float(value) for name, value in found.items()}

    def _judged(
        self, model: nn.Module, noising: Noising, batch: Batch, uniform: Tensor
    ) -> dict[str, Tensor]:
        """Return the loss of a pair, and by number of steps how far from z_0 a network ends."""
        found = {"loss": self._loss(model, noising, batch, uniform)}
        answer = partial(model, conditions=Conditions.from_dict(batch))
        for steps in FEW:
            end = self._carried(answer, noising, batch["noise"], steps)
            found[f"{steps}"] = _apart(self.standard.scaled(end, batch["modality"]), batch["z"])
        return found

    def _carried(self, answer: Answer, noising: Noising, noise: Tensor, steps: int) -> Tensor:
        """Return where steps of Euler's carry noise, as the denoiser sees latents."""
        times = noising.process.sampling_times(steps, self.space.shape, noising.settings)

        def velocity(x: Tensor, time: float) -> Tensor:
            return noising.predicted(answer, x, x.new_full((len(x),), time))

        return euler(velocity, noise, times)

    def _loss(self, model: nn.Module, noising: Noising, batch: Batch, uniform: Tensor) -> Tensor:
        """Return the loss of a batch of pairs at the times that `uniform` leads to."""
        told = Conditions.from_dict(batch)
        x0 = self.standard.seen(batch["z"], told.modality)
        return noising.loss(partial(model, conditions=told), x0, uniform, batch["noise"])


def _apart(found: Tensor, wanted: Tensor) -> Tensor:
    return (found - wanted).norm() / wanted.norm()
