"""How well a denoiser predicts clean latents, against guesses that need no network."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.open_study.data import Data
from benchmarks.gpu.open_study.latents import Latents, Space
from benchmarks.gpu.open_study.learner import SEED, measuring
from wfdm.config.denoisers import RectifiedFlowSettings
from wfdm.data.table import MODALITIES
from wfdm.models.denoisers.unet import Denoiser
from wfdm.processes.rflow import noised, predicted
from wfdm.seeds import seed_for

TIMES = (1.0, 0.8, 0.6, 0.4, 0.2)  # where predictions are judged


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
    def predict(self, model: Denoiser, name: str, t: float) -> Tensor:
        """Return the predicted latents of one group at time t."""
        rows, found = self.rows[name], []
        noisy = self._noisy(name, t)
        for part in torch.arange(len(rows), device=rows.device).split(16):
            chosen, z = rows[part], noisy[part]
            times = z.new_full((len(part),), t)
            output = model(z, times, self.data.conditions[chosen])
            velocity = predicted(output, z, times, RectifiedFlowSettings())
            found.append(z + t * velocity)
        return self.space.back(torch.cat(found))

    def _noisy(self, name: str, t: float) -> Tensor:
        z = self.space.to(self.latents[name])
        return noised(z, self.noise[name], z.new_full((len(z),), t), RectifiedFlowSettings())

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

    def look(self, model: Denoiser) -> tuple[list[dict[str, Any]], float]:
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
