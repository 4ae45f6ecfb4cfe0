"""Stage A of the open study: WF-SA-VAE on whole volumes, for so many seconds."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from benchmarks.gpu.open_study.data import Data, batch_of, draw_weights
from benchmarks.gpu.open_study.learner import (
    SEED,
    WINDOW,
    Learner,
    autocast,
    peak_memory,
    quickest_layout,
    rate_at,
)
from benchmarks.gpu.open_study.output import Output, plain
from benchmarks.gpu.open_study.reconstructions import measure
from wfdm.config.compressors import WaveletFusion
from wfdm.models.compressors import registry
from wfdm.models.compressors.base import Compressor
from wfdm.seeds import seed_for
from wfdm.training import losses

WORSE = 1.25  # an adversarial half that ends this much above the best L1 is not kept


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


class Critic:
    """The patch discriminator of the package's stage A."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.amp, self.device = settings.amp, device
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
        return losses.adversarial_generator(logits.float())

    def learn(self, real: Tensor, fake: Tensor) -> None:
        """Update the discriminator on real and detached fake volumes."""
        with autocast(self.device, self.amp):
            logits = self.learner.model(torch.cat((real, fake)))[-1]
        loss = losses.adversarial_discriminator(*logits.float().chunk(2))
        self.learner.update(loss, 1.0)


def critic_of(settings: Settings, data: Data) -> Critic | None:
    """Return the discriminator, or None if it is off."""
    if not settings.adversarial_weight:
        return None
    torch.manual_seed(seed_for(SEED, "open study", "discriminator"))
    return Critic(settings, data.device)


def build(settings: Settings, device: torch.device) -> Compressor:
    """Return the compressor with fresh weights."""
    torch.manual_seed(seed_for(SEED, "open study", "compressor"))
    architecture = WaveletFusion(
        kind="wavelet-fusion",
        channels=settings.channels,
        wavelet_channels=settings.wavelet_channels,
        attention=True,
        norm_groups=settings.norm_groups,
    )
    return registry.build(architecture).to(device)


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
        self.critic = critic_of(settings, data)
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

    def write(self, model: Compressor) -> None:
        """Write the weights."""
        config = model.settings.model_dump(mode="json")
        self.out.weights("compressor", model.state_dict(), {"architecture": config})

    def run(self) -> Compressor:
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

    def _finish(self, seconds: float) -> Compressor:
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
