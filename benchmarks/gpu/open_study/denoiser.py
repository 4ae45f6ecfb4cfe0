"""Stage B of the open study: the denoiser on cached latents, for so many seconds."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.open_study.data import Data, draw_weights
from benchmarks.gpu.open_study.judge import Judge
from benchmarks.gpu.open_study.latents import Latents, space_of
from benchmarks.gpu.open_study.learner import (
    SEED,
    WINDOW,
    Learner,
    autocast,
    measuring,
    peak_memory,
    quickest_layout,
    rate_at,
)
from benchmarks.gpu.open_study.output import Output, plain
from wfdm.config.denoisers import RectifiedFlowSettings, UNetSettings
from wfdm.data.metadata import load_schema
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.folder import build, fields_of
from wfdm.models.denoisers.unet import Denoiser
from wfdm.processes import rflow
from wfdm.processes.samplers import euler
from wfdm.seeds import seed_for


@dataclass(frozen=True)
class Settings:
    """How the denoiser is trained."""

    unet: UNetSettings
    seconds: float
    batch_size: int
    amp: bool
    learning_rate: float = 6e-4
    warmup_steps: int = 100
    ema_decay: float = 0.999
    balance: float = 0.7  # modality weight 1 / count ** balance
    shift: float = 2.0  # r of the time shift, in training and sampling
    metadata_dropout: float = 0.2  # chance that a training scan's metadata count as not recorded
    validate_every: float = 8.0  # seconds


class Training:
    """The loop of stage B in one space."""

    def __init__(
        self, s: Settings, kind: str, latents: Latents, data: Data, out: Output, statistics: dict
    ) -> None:
        self.s, self.data, self.out, self.statistics = s, data, out, statistics
        self.space = space_of(kind, latents)
        self.z = self.space.to(latents.training)
        self.judge = Judge(self.space, latents, data)
        shape = tuple(self.z.shape[2:])
        voxels = rflow.spatial_voxels(shape)
        self.process = RectifiedFlowSettings(reference_voxels=max(1, round(voxels / s.shift**3)))
        torch.manual_seed(seed_for(SEED, "open study", "denoiser"))
        model = build(s.unet, shape[0]).to(data.device)
        self.conditions = data.conditions[data.split["train"]]
        self.chances = draw_weights(self.conditions.modality, s.balance).cpu()
        self._seed()
        self.layout = quickest_layout(model, self._try, data.device, out, f"denoiser_{kind}")
        self._seed()
        model = model.to(memory_format=self.layout)
        self.learner = Learner(model, s.learning_rate, s.ema_decay)
        self.best: tuple[float, int, dict[str, Tensor]] = (float("inf"), 0, {})

    def _seed(self) -> None:
        """Begin the draws anew: the same scans, times and noise in every space."""
        self.draw = torch.Generator().manual_seed(seed_for(SEED, "open study", "latents"))
        self.noise = torch.Generator(self.data.device)
        self.noise.manual_seed(seed_for(SEED, "open study", "noise"))

    def _loss(self, model: nn.Module, layout: torch.memory_format) -> Tensor:
        """Return the velocity's mean square error on one batch."""
        size, device = self.s.batch_size, self.data.device
        rows = torch.multinomial(self.chances, size, replacement=True, generator=self.draw)
        versions = torch.randint(len(self.z), (size,), generator=self.draw)
        told = torch.rand(size, generator=self.draw) >= self.s.metadata_dropout
        rows, versions, told = (each.to(device) for each in (rows, versions, told))
        z = self.z[versions, rows]
        conditions = self.conditions[rows]
        conditions.mask = conditions.mask * told[:, None]
        t = torch.rand(size, device=device, generator=self.noise)
        t = rflow.training_times(t, tuple(z.shape[1:]), self.process)
        noise = torch.randn(z.shape, device=device, generator=self.noise)
        noisy = rflow.noised(z, noise, t, self.process).to(memory_format=layout)
        with autocast(device, self.s.amp):
            output = model(noisy, t, conditions)
        velocity = rflow.predicted(output.float(), noisy, t, self.process)
        return (velocity - rflow.target(z, noise, t, self.process)).square().mean()

    def _try(self, model: nn.Module, layout: torch.memory_format) -> None:
        self._loss(model, layout).backward()

    def look(self, seconds: float) -> None:
        """Judge the average, add to the history, remember the best, keep the newest on disk."""
        told = self.learner.close_window()
        rows, loss = self.judge.look(self.learner.average)
        self.newest = rows
        self._told(seconds, val_loss=loss, **told)
        for row in rows:
            self.out.row(
                "stage_b", run=self.space.kind, step=self.learner.steps, seconds=seconds, **row
            )
        self.out.flush()
        if loss < self.best[0]:
            state = copy.deepcopy(self.learner.average.state_dict())
            self.best = (loss, self.learner.steps, state)
        short = {
            row["t"]: round(row["rms"], 4)
            for row in rows
            if row["scans"] == "held_out" and row["modality"] == "all"
        }
        self.out.tell(
            f"stage B, {self.space.kind}: step {self.learner.steps}, validation {loss:.4f}, "
            f"{plain(told)}, RMS error by t: {short}"
        )

    def _told(self, seconds: float, **cells: Any) -> None:
        self.out.row(
            "stage_b", run=self.space.kind, step=self.learner.steps, seconds=seconds, **cells
        )

    def write(self, state: dict[str, Tensor]) -> None:
        """Write weights and mean latent."""
        about = {
            "unet": self.s.unet.model_dump(mode="json"),
            "process": self.process.model_dump(mode="json"),
            "space": self.space.kind,
            "scale": self.space.scale,
            "statistics": self.statistics,
            "metadata_fields": fields_of(load_schema()),
        }
        self.out.weights("denoiser", state | {"latent_mean": self.space.mean}, about)

    def run(self, schedule_steps: int | None, keep: bool) -> Denoiser:
        """Train until the time is up; return the average, frozen.

        Args:
            schedule_steps: steps over which the rate falls, so that a shorter run can be compared
                step by step; None lets it fall over this run's seconds.
            keep: whether weights are written.
        """
        clock = self.out.clock
        self.floors = self.judge.floors()
        for row in self.floors:
            self.out.row("stage_b", **row)
        self.look(0.0)
        start = looked = clock.elapsed
        seconds = min(self.s.seconds, clock.left)
        while (passed := clock.elapsed - start) < seconds:
            steps = self.learner.steps
            done = passed / seconds if schedule_steps is None else steps / schedule_steps
            loss = self._loss(self.learner.model, self.layout)
            self.learner.update(loss, rate_at(steps, done, self.s.warmup_steps))
            if self.learner.steps % WINDOW == 0:
                self._told(passed, **self.learner.close_window())
                if clock.elapsed - looked > self.s.validate_every:
                    self.look(passed)
                    looked = clock.elapsed
                    if keep:
                        self.write(self.learner.average.state_dict())
        passed = clock.elapsed - start
        self.look(passed)
        self._note(passed)
        if keep:
            self.write(self.learner.average.state_dict())
        return self.learner.average

    def _note(self, seconds: float) -> None:
        steps = self.learner.steps
        self.out.note(
            **{
                f"stage_b_{self.space.kind}": {
                    "settings": self.s.__dict__ | {"unet": self.s.unet.model_dump(mode="json")},
                    "parameters": sum(p.numel() for p in self.learner.model.parameters()),
                    "layout": str(self.layout),
                    "scale": self.space.scale,
                    "reference_voxels": self.process.reference_voxels,
                    "steps": steps,
                    "seconds": seconds,
                    "steps_per_second": steps / max(seconds, 1e-9),
                    "passes_over_training_scans": steps * self.s.batch_size / self.z.shape[1],
                    "best_validation_loss": self.best[0],
                    "best_validation_step": self.best[1],
                    "errors_at_the_end": self._beside_floors(),
                    "rescues": self.learner.rescues,
                    "peak_memory_gib": peak_memory(),
                }
            }
        )

    def _beside_floors(self) -> list[dict[str, Any]]:
        """Return the newest errors, each with what needs no network beside it."""
        place = lambda row: (row["scans"], row["modality"], row["t"])  # noqa: E731
        floors: dict[tuple, dict[str, float]] = {}
        for row in self.floors:
            floors.setdefault(place(row), {})[row["run"].split()[0]] = row["rms"]
        return [row | floors[place(row)] for row in self.newest]

    def best_model(self) -> Denoiser:
        """Return the average at its lowest validation loss."""
        model = copy.deepcopy(self.learner.average)
        model.load_state_dict(self.best[2])
        return model

    @measuring()
    def sample(
        self, model: Denoiser, names: list[str], conditions: Conditions, steps: int, batch: int = 12
    ) -> Tensor:
        """Return latents (n, C, d, h, w): unit noise named by `names`, carried to data by Euler.

        Args:
            model: the denoiser.
            names: a request each; equal names have equal noise.
            conditions: of each.
            steps: of Euler's method.
            batch: samples at a time.
        """
        shape, device = self.space.mean.shape, self.data.device
        times = rflow.sampling_times(steps, tuple(shape), self.process)
        found = []
        for part in torch.arange(len(names)).split(batch):
            seeds = [seed_for(SEED, "sample", names[i]) for i in part.tolist()]
            noise = torch.stack(
                [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
            ).to(device)
            own = conditions[part.to(device)]

            def velocity(z: Tensor, t: float, own: Conditions = own) -> Tensor:
                now = z.new_full((len(z),), t)
                return rflow.predicted(model(z, now, own), z, now, self.process)

            found.append(self.space.back(euler(velocity, noise, times)))
        return torch.cat(found)
