"""Stage A of the open study: WF-SA-VAE on whole volumes, for so many seconds."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from common import SEED, Learner, Output, autocast, measuring, plain, quickest_layout, rate_at
from torch import Tensor, nn

from wfdm.config.compressors import WaveletFusion
from wfdm.data.table import MODALITIES
from wfdm.models import haar
from wfdm.models.wavelet_fusion import WaveletFusionVAE
from wfdm.seeds import seed_for

SHIFT = 2  # voxels, most that a training volume is moved along each axis
WORSE = 1.25  # an adversarial half that ends this much above the best L1 is not kept
WINDOW = 25  # steps between two looks at the losses


@dataclass(frozen=True)
class Data:
    """All scans on the device.

    Attributes:
        volumes: (n, 1, R, A, S) uint8.
        modalities: (n,) int64.
        values: (n, 25) metadata values.
        mask: (n, 25) their availability.
        split: name to row numbers.
        scan_ids: of the rows.
        persons: of the rows.
    """

    volumes: Tensor
    modalities: Tensor
    values: Tensor
    mask: Tensor
    split: dict[str, Tensor]
    scan_ids: list[str]
    persons: list[str]

    @property
    def device(self) -> torch.device:
        """Where the data lie."""
        return self.volumes.device

    def real(self, rows: Tensor) -> Tensor:
        """Return volumes (n, 1, R, A, S) in [0, 1]."""
        return self.volumes[rows].float() / 255

    def held_out(self) -> Tensor:
        """Return the rows of validation and test."""
        return torch.cat((self.split["validation"], self.split["test"]))


@dataclass(frozen=True)
class Settings:
    """How the compressor is trained."""

    channels: tuple[int, int]
    wavelet_channels: int
    norm_groups: int
    seconds: float
    batch_size: int
    amp: bool
    learning_rate: float = 8e-4
    warmup_steps: int = 50
    ema_decay: float = 0.998
    kl_weight: float = 2e-8
    balance: float = 0.4  # modality weight 1 / count ** balance
    adversarial_weight: float = 0.01
    adversarial_rate: float = 2e-4
    adversarial_start: float = 0.5  # share of the time
    validate_every: float = 8.0  # seconds


def draw_weights(modalities: Tensor, balance: float) -> Tensor:
    """Return each scan's chance: 1 / count(modality) ** balance, as `BalancedDraws` has it."""
    return 1 / torch.bincount(modalities)[modalities].float() ** balance


def shifted(volume: Tensor, offsets: tuple[int, ...], flip: bool) -> Tensor:
    """Return volumes (..., R, A, S) mirrored left to right and moved by whole voxels.

    What leaves the field on one side comes in on the other: the borders are empty.
    """
    volume = volume.flip(-3) if flip else volume
    return volume.roll(offsets, (-3, -2, -1))


def batch_of(data: Data, chances: Tensor, size: int, draw: torch.Generator) -> Tensor:
    """Draw training volumes, each mirrored or not and moved a little."""
    rows = torch.multinomial(chances, size, replacement=True, generator=draw)
    moves = torch.randint(-SHIFT, SHIFT + 1, (size, 3), generator=draw).tolist()
    flips = torch.randint(2, (size,), generator=draw).tolist()
    picked = data.volumes[data.split["train"][rows.to(data.device)]]
    parts = [
        shifted(volume, tuple(move), bool(flip))
        for volume, move, flip in zip(picked, moves, flips, strict=True)
    ]
    return torch.stack(parts).float() / 255


def psnr(other: Tensor, real: Tensor) -> Tensor:
    """Return the PSNR in dB of each volume (n, 1, R, A, S), of range 1."""
    return -10 * torch.log10((other - real).square().mean((1, 2, 3, 4)).clamp(min=1e-12))


def detail(volumes: Tensor) -> Tensor:
    """Return the energy of the seven finest Haar bands of each volume: its sharpness."""
    return haar.forward(volumes)[:, 1:].square().sum((1, 2, 3, 4))


@measuring()
def reconstruct(model: nn.Module, volumes: Tensor, batch: int = 4) -> Tensor:
    """Return clamp(D(mean of E(v))), in single precision."""
    parts = [model.decode(model.encode(part)[0]).clamp(0, 1) for part in volumes.split(batch)]
    return torch.cat(parts)


@measuring()
def measure(model: nn.Module, data: Data, rows: Tensor) -> dict[str, float]:
    """Return L1, PSNR and relative detail of reconstructions, each the mean over `rows`."""
    real = data.real(rows)
    fake = reconstruct(model, real)
    return {
        "l1": float((fake - real).abs().mean()),
        "psnr": float(psnr(fake, real).mean()),
        "detail": float((detail(fake) / detail(real)).mean()),
    }


class Critic:
    """The patch discriminator of the package's stage A; `None` of it where it cannot be had."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        from monai.networks.nets import PatchDiscriminator

        from wfdm.training import losses

        self.losses, self.amp, self.device = losses, settings.amp, device
        net = PatchDiscriminator(
            spatial_dims=3, in_channels=1, channels=32, num_layers_d=3, norm="INSTANCE"
        )
        self.learner = Learner(net.to(device), settings.adversarial_rate, 0.9)

    def fooled(self, fake: Tensor) -> Tensor:
        """Return L_adv^G."""
        net = self.learner.model.requires_grad_(False)
        with autocast(self.device, self.amp):
            logits = net(fake)[-1]
        net.requires_grad_(True)
        return self.losses.adversarial_generator(logits.float())

    def learn(self, real: Tensor, fake: Tensor) -> None:
        """Update the discriminator on real and detached fake volumes."""
        with autocast(self.device, self.amp):
            logits = self.learner.model(torch.cat((real, fake)))[-1]
        loss = self.losses.adversarial_discriminator(*logits.float().chunk(2))
        self.learner.update(loss, 1.0)


def critic_of(settings: Settings, data: Data, out: Output) -> Critic | None:
    """Return the discriminator, or None if it is off or cannot be built."""
    if not settings.adversarial_weight:
        return None
    try:
        torch.manual_seed(seed_for(SEED, "open study", "discriminator"))
        return Critic(settings, data.device)
    except ImportError as error:
        out.tell(f"no discriminator: {error}")
        out.note(adversarial_left_out=str(error))
        return None


def build(settings: Settings, device: torch.device) -> WaveletFusionVAE:
    """Return the compressor with fresh weights."""
    torch.manual_seed(seed_for(SEED, "open study", "compressor"))
    architecture = WaveletFusion(
        kind="wavelet-fusion",
        channels=settings.channels,
        wavelet_channels=settings.wavelet_channels,
        attention=True,
        norm_groups=settings.norm_groups,
    )
    return WaveletFusionVAE(architecture).to(device)


class Training:
    """The loop: draws, one step, a validation now and then, the best weights on disk."""

    def __init__(self, settings: Settings, data: Data, out: Output) -> None:
        self.s, self.data, self.out = settings, data, out
        model = build(settings, data.device)
        self.draw = torch.Generator().manual_seed(seed_for(SEED, "open study", "volumes"))
        self.noise = torch.Generator(data.device)
        self.noise.manual_seed(seed_for(SEED, "open study", "posterior"))
        self.chances = draw_weights(data.modalities[data.split["train"]], settings.balance).cpu()
        self.layout = quickest_layout(model, self._try, data.device, out, "compressor")
        model = model.to(memory_format=self.layout)
        self.learner = Learner(model, settings.learning_rate, settings.ema_decay)
        self.critic = critic_of(settings, data, out)
        self.best: tuple[float, dict[str, Tensor]] = (float("inf"), {})
        self.steps_at_adversarial: int | None = None

    def _losses(self, model: nn.Module, real: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction, and L1 plus weighted KL."""
        with autocast(self.data.device, self.s.amp):
            fake, terms = model(real, self.noise)
        fake = fake.float()
        return fake, (fake - real).abs().mean() + self.s.kl_weight * terms["kl"]

    def _batch(self) -> Tensor:
        return batch_of(self.data, self.chances, self.s.batch_size, self.draw)

    def _try(self, model: nn.Module, layout: torch.memory_format) -> None:
        real = self._batch().to(memory_format=layout)
        self._losses(model, real)[1].backward()

    def step(self, done: float) -> None:
        """Update on one batch; `done` is the share of the time that is over."""
        real = self._batch().to(memory_format=self.layout)
        fake, loss = self._losses(self.learner.model, real)
        judged = self.critic is not None and done >= self.s.adversarial_start
        if judged:
            if self.steps_at_adversarial is None:
                self.steps_at_adversarial = self.learner.steps
            loss = loss + self.s.adversarial_weight * self.critic.fooled(fake)
        self.learner.update(loss, rate_at(self.learner.steps, done, self.s.warmup_steps))
        if judged:
            self.critic.learn(real, fake.detach())

    def look(self, seconds: float) -> None:
        """Validate the average, add a row to the history, keep it on disk."""
        told = self.learner.close_window()
        if self.critic is not None and self.critic.learner.window:
            told["discriminator"] = self.critic.learner.close_window().get("loss", float("nan"))
        found = measure(self.learner.average, self.data, self.data.split["validation"])
        self.out.row(
            "stage_a", seconds=seconds, step=self.learner.steps, **told,
            **{f"val_{key}": value for key, value in found.items()},
        )  # fmt: skip
        self.out.flush()
        self.out.tell(f"stage A: step {self.learner.steps}: {plain(told | found)}")
        if found["l1"] < self.best[0]:
            self.best = (found["l1"], copy.deepcopy(self.learner.average.state_dict()))
        self.write(self.learner.average)

    def write(self, model: nn.Module) -> None:
        """Write the weights."""
        config = model.settings.model_dump(mode="json")
        self.out.weights("compressor", model.state_dict(), {"architecture": config})

    def run(self) -> WaveletFusionVAE:
        """Train until the time is up; return the average, frozen."""
        clock = self.out.clock
        start = clock.elapsed
        seconds = min(self.s.seconds, clock.left)
        looked = start
        self.look(0.0)
        start_training = clock.elapsed
        while (passed := clock.elapsed - start_training) < seconds:
            self.step(passed / seconds)
            if self.learner.steps % WINDOW == 0:
                self._log(passed)
                if clock.elapsed - looked > self.s.validate_every:
                    self.look(passed)
                    looked = clock.elapsed
        self.look(clock.elapsed - start_training)
        return self._finish(clock.elapsed - start_training)

    def _log(self, passed: float) -> None:
        told = self.learner.close_window()
        if self.critic is not None and self.critic.learner.window:
            told["discriminator"] = self.critic.learner.close_window().get("loss", float("nan"))
        self.out.row("stage_a", seconds=passed, step=self.learner.steps, **told)

    def _finish(self, seconds: float) -> WaveletFusionVAE:
        """Choose the last weights, or the best ones where the last are much worse."""
        model = self.learner.average
        last = measure(model, self.data, self.data.split["validation"])
        back = last["l1"] > WORSE * self.best[0] or not np.isfinite(last["l1"])
        if back:
            model.load_state_dict(self.best[1])
        self.write(model)
        self.out.note(
            stage_a={
                "settings": self.s.__dict__,
                "parameters": sum(each.numel() for each in model.parameters()),
                "layout": str(self.layout),
                "steps": self.learner.steps,
                "seconds": seconds,
                "steps_per_second": self.learner.steps / max(seconds, 1e-9),
                "steps_before_adversarial": self.steps_at_adversarial,
                "rescues": self.learner.rescues,
                "went_back_to_best": back,
                "peak_memory_gib": peak_memory(),
            }
        )
        return model


def peak_memory() -> float | None:
    """Return the most GPU memory that was held, in GiB."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None


@measuring()
def floors_and_test(model: nn.Module, start: nn.Module, data: Data) -> list[dict[str, Any]]:
    """Return PSNR on each held-out split and modality: the model, its start, the mean volume."""
    rows = []
    for split in ("train", "validation", "test"):
        for modality, name in enumerate(MODALITIES):
            chosen = data.split[split][data.modalities[data.split[split]] == modality]
            fit = data.split["train"][data.modalities[data.split["train"]] == modality]
            if not len(chosen) or not len(fit):
                continue
            chosen = chosen[:24]
            real, mean = data.real(chosen), data.real(fit).mean(0, keepdim=True)
            fakes = {
                "model": reconstruct(model, real),
                "haar_start": reconstruct(start, real),
                "mean_volume": mean.expand_as(real),
            }
            for kind, fake in fakes.items():
                inside = real > 0
                brain = torch.stack(
                    [(f - r)[i].square().mean() for f, r, i in zip(fake, real, inside, strict=True)]
                )
                values = psnr(fake, real)
                rows.append(
                    {
                        "split": split,
                        "modality": name,
                        "reconstruction": kind,
                        "n": len(chosen),
                        "psnr": float(values.mean()),
                        "psnr_sd": float(values.std()) if len(values) > 1 else 0.0,
                        "psnr_in_brain": float((-10 * torch.log10(brain)).mean()),
                        "l1": float((fake - real).abs().mean()),
                        "detail": float((detail(fake) / detail(real)).mean()),
                    }
                )
    return rows
