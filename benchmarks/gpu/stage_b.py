"""Stage B of the open study: latents, their statistics, the denoiser, for so many seconds."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from common import SEED, Learner, Output, autocast, measuring, plain, quickest_layout, rate_at
from stage_a import WINDOW, Data, draw_weights, peak_memory, shifted
from torch import Tensor, nn

from wfdm.config.generators import UNetSettings
from wfdm.data.metadata import load_schema
from wfdm.data.table import MODALITIES
from wfdm.models.unet import Denoiser, check_settings, describe
from wfdm.sampling.samplers import euler, interpolate
from wfdm.sampling.schedules import rflow_times, time_shift
from wfdm.seeds import seed_for

TIMES = (1.0, 0.8, 0.6, 0.4, 0.2)  # where predictions are judged
MOVED = 2  # further encodings of each scan, and of its mirror image, moved by up to one voxel


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


@dataclass(frozen=True)
class Latents:
    """Posterior means, unscaled.

    Attributes:
        plain: (n, C, d, h, w) of every scan as it is.
        training: (k, n_train, C, d, h, w): as it is, mirrored, then both moved a little.
        deviation: mean posterior standard deviation of each channel.
    """

    plain: Tensor
    training: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class Space:
    """z = (latent - mean) * scale: what the denoiser sees.

    Attributes:
        kind: "centred" (less the mean training latent) or "scale" (about zero, as the paper).
        mean: (C, d, h, w), zero for "scale".
        scale: 1 / RMS of what is left, one number.
    """

    kind: str
    mean: Tensor
    scale: float

    def to(self, latent: Tensor) -> Tensor:
        """Return what the denoiser sees."""
        return (latent - self.mean) * self.scale

    def back(self, z: Tensor) -> Tensor:
        """Undo `to`."""
        return z / self.scale + self.mean


@measuring()
def encode(model: nn.Module, data: Data, batch: int = 4) -> Latents:
    """Encode every scan, and the training scans in all their versions, in single precision."""

    def means(volumes: Tensor) -> Tensor:
        parts = [model.encode(part.float() / 255)[0] for part in volumes.split(batch)]
        return torch.cat(parts)

    draw = torch.Generator().manual_seed(seed_for(SEED, "open study", "moves"))
    rows = data.split["train"]
    plain = means(data.volumes)
    versions = [plain[rows], means(shifted(data.volumes[rows], (0, 0, 0), True))]
    for number in range(2 * MOVED):
        moves = torch.randint(-1, 2, (len(rows), 3), generator=draw).tolist()
        pairs = zip(data.volumes[rows], moves, strict=True)
        moved = [shifted(volume, tuple(move), number % 2 == 1) for volume, move in pairs]
        versions.append(means(torch.stack(moved)))
    spread = torch.cat([model.encode(data.real(part))[1] for part in rows[:16].split(batch)])
    return Latents(plain, torch.stack(versions), spread.mean((0, 2, 3, 4)))


def space_of(kind: str, latents: Latents) -> Space:
    """Return the space of that kind, from the training latents alone."""
    versions = latents.training
    mean = torch.zeros_like(versions[0, 0])
    if kind == "centred":
        mean = versions.mean((0, 1))
    return Space(kind, mean, 1 / float((versions - mean).square().mean().sqrt()))


def statistics(latents: Latents, data: Data) -> dict[str, Any]:
    """Return what describes the latent space: of training scans unless told otherwise."""
    plain = latents.plain[data.split["train"]]
    mean = plain.mean(0)
    held = latents.plain[data.held_out()]
    rms = lambda x, *axes: x.square().mean(axes).sqrt() if axes else x.square().mean().sqrt()  # noqa: E731
    return {
        "shape": list(plain.shape[1:]),
        "n_train": len(plain),
        "n_held_out": len(held),
        "rms": rms(plain),
        "rms_about_mean_latent": rms(plain - mean),
        "rms_about_mean_latent_held_out": rms(held - mean),
        "share_of_power_in_mean_latent": 1 - rms(plain - mean) ** 2 / rms(plain) ** 2,
        "channel_mean": plain.mean((0, 2, 3, 4)),
        "channel_rms": rms(plain, 0, 2, 3, 4),
        "channel_rms_about_mean_latent": rms(plain - mean, 0, 2, 3, 4),
        "channel_posterior_deviation": latents.deviation,
        "largest": plain.abs().max(),
    }


class Judge:
    """RMS errors of the predicted x0, in units of the latents, on held-out and training scans.

    Noise belongs to scan and time, so figures of different steps differ by the weights alone.
    """

    def __init__(self, space: Space, latents: Latents, data: Data) -> None:
        self.space, self.data = space, data
        held = data.held_out()
        train = data.split["train"]
        every = torch.linspace(0, len(train) - 1, min(len(held), len(train))).round().long()
        self.rows = {"held_out": held, "train": train[every.to(train.device)]}
        self.latents = {name: latents.plain[rows] for name, rows in self.rows.items()}
        self.noise = {name: self._noise(rows) for name, rows in self.rows.items()}
        self.fit = latents.plain[train]
        self.fit_modalities = data.modalities[train]
        self.validation = len(data.split["validation"])

    def _noise(self, rows: Tensor) -> Tensor:
        shape = self.space.mean.shape
        names = [self.data.scan_ids[row] for row in rows.tolist()]
        seeds = [seed_for(SEED, "open study", "judge", name) for name in names]
        parts = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
        return torch.stack(parts).to(self.space.mean.device)

    @measuring()
    def predict(self, model: nn.Module, name: str, t: float) -> Tensor:
        """Return the predicted latents of one group at time t."""
        rows, found = self.rows[name], []
        noisy = self._noisy(name, t)
        for part in torch.arange(len(rows), device=rows.device).split(16):
            chosen, z = rows[part], noisy[part]
            times = z.new_full((len(part),), t)
            parts = (self.data.modalities, self.data.values, self.data.mask)
            velocity = model(z, times, *(each[chosen] for each in parts))
            found.append(z + t * velocity)
        return self.space.back(torch.cat(found))

    def _noisy(self, name: str, t: float) -> Tensor:
        z = self.space.to(self.latents[name])
        return interpolate(z, self.noise[name], z.new_full((len(z),), t))

    def errors(self, predicted: Tensor, name: str) -> dict[str, tuple[int, float]]:
        """Return count and RMS error, of all scans and of each modality."""
        squares = (predicted - self.latents[name]).square().mean((1, 2, 3, 4))
        modalities = self.data.modalities[self.rows[name]]
        found = {"all": (len(squares), float(squares.mean().sqrt()))}
        for index, modality in enumerate(MODALITIES):
            if (modalities == index).any():
                own = squares[modalities == index]
                found[modality] = (len(own), float(own.mean().sqrt()))
        return found

    def look(self, model: nn.Module) -> tuple[list[dict[str, Any]], float]:
        """Return the rows of the history, and the velocity's mean square error on validation."""
        rows, losses = [], []
        for name in self.rows:
            for t in TIMES:
                predicted = self.predict(model, name, t)
                rows += self._rows(self.errors(predicted, name), name, t)
                if name == "held_out":
                    error = (predicted - self.latents[name])[: self.validation] * self.space.scale
                    losses.append(float(error.square().mean()) / t**2)
        return rows, sum(losses) / len(losses)

    def floors(self) -> list[dict[str, Any]]:
        """Return the same rows for predictions that need no network.

        mean: one latent for all; modality_mean: one a modality; wiener: the best linear guess of
        each voxel from its own noisy value, given the modality's mean and variance there.
        """
        rows = []
        shared = self.fit.var(0)
        for name, chosen in self.rows.items():
            modalities = self.data.modalities[chosen].tolist()
            own = {m: self.fit[self.fit_modalities == m] for m in set(modalities)}
            whole = self.fit.mean(0)
            means = torch.stack([own[m].mean(0) if len(own[m]) else whole for m in modalities])
            few = 8  # of so few scans a variance says nothing
            spread = {m: own[m].var(0) if len(own[m]) >= few else shared for m in own}
            variance = torch.stack([spread[m] for m in modalities]) * self.space.scale**2
            centre = self.space.to(means)
            guesses = {"mean": whole.expand_as(means), "modality_mean": means}
            for t in TIMES:
                gain = (1 - t) * variance / ((1 - t) ** 2 * variance + t**2)
                best = centre + gain * (self._noisy(name, t) - (1 - t) * centre)
                for kind, guess in (guesses | {"wiener": self.space.back(best)}).items():
                    told = self._rows(self.errors(guess, name), name, t)
                    rows += [row | {"run": f"{kind} ({self.space.kind})"} for row in told]
        return rows

    @staticmethod
    def _rows(errors: dict, name: str, t: float) -> list[dict[str, Any]]:
        return [
            {"scans": name, "modality": modality, "t": t, "n": n, "rms": rms}
            for modality, (n, rms) in errors.items()
        ]


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
        check_settings(s.unet, shape, "open study")
        self.voxels = math.prod(shape[1:])
        self.reference_voxels = max(1, round(self.voxels / s.shift**3))
        torch.manual_seed(seed_for(SEED, "open study", "denoiser"))
        model = Denoiser(s.unet, shape[0], load_schema()).to(data.device)
        train = data.split["train"]
        self.conditions = [each[train] for each in (data.modalities, data.values, data.mask)]
        self.chances = draw_weights(self.conditions[0], s.balance).cpu()
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
        modality, values, mask = (each[rows] for each in self.conditions)
        t = torch.rand(size, device=device, generator=self.noise)
        t = time_shift(t, self.voxels, self.reference_voxels)
        noise = torch.randn(z.shape, device=device, generator=self.noise)
        noisy = interpolate(z, noise, t).to(memory_format=layout)
        with autocast(device, self.s.amp):
            velocity = model(noisy, t, modality, values, mask * told[:, None])
        return (velocity.float() - (z - noise)).square().mean()

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
            "process": {"kind": "rflow", "reference_voxels": self.reference_voxels},
            "space": self.space.kind,
            "scale": self.space.scale,
            "statistics": self.statistics,
            "metadata_fields": describe(load_schema()),
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
                    "reference_voxels": self.reference_voxels,
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
        self, model: nn.Module, names: list[str], conditions: list[Tensor], steps: int,
        batch: int = 12,
    ) -> Tensor:  # fmt: skip
        """Return latents (n, C, d, h, w): unit noise named by `names`, carried to data by Euler.

        Args:
            model: the denoiser.
            names: a request each; equal names have equal noise.
            conditions: modality (n,), values (n, 25), mask (n, 25).
            steps: of Euler's method.
            batch: samples at a time.
        """
        shape, device = self.space.mean.shape, self.data.device
        times = rflow_times(steps, self.voxels, self.reference_voxels)
        found = []
        for part in torch.arange(len(names)).split(batch):
            seeds = [seed_for(SEED, "sample", names[i]) for i in part.tolist()]
            noise = torch.stack(
                [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
            ).to(device)
            own = [each[part.to(each.device)] for each in conditions]

            def velocity(z: Tensor, t: float, own: list[Tensor] = own) -> Tensor:
                return model(z, z.new_full((len(z),), t), *own)

            found.append(self.space.back(euler(velocity, noise, times)))
        return torch.cat(found)
