"""One whole sample: the sampler's steps through the denoiser, then a decoder (table 6)."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.full_size.measure import (
    DEVICE,
    SEED,
    SETTINGS,
    Row,
    arithmetic,
    randomise_zeros,
    repeat,
)
from benchmarks.gpu.full_size.sizes import Sizes
from wfdm.config.compressors import Architecture
from wfdm.data.metadata import load_schema
from wfdm.models.compressors import registry
from wfdm.models.compressors.base import Compressor
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.unet import Denoiser
from wfdm.processes.rflow import sampling_times
from wfdm.processes.samplers import euler

# Seconds that a row is worth; relative to each other only.
SHARES = {"bf16": 36.0, "tf32": 30.0, "float32": 20.0}


def compressor(architecture: Architecture) -> Compressor:
    """Return a frozen compressor with random weights, none of them zero."""
    torch.manual_seed(SEED)
    with DEVICE:
        model = registry.build(architecture)
    randomise_zeros(model, torch.Generator(DEVICE).manual_seed(SEED))
    return model.eval().requires_grad_(False)


class Samples:
    """The models of all rows, built once, and each setting's first result."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.models: dict[str, Any] = {}
        self.results: dict[tuple[str, str], list[Tensor]] = {}
        own = torch.Generator().manual_seed(SEED)
        self.noise = torch.randn((1, *sizes.latent), generator=own).to(DEVICE)
        fields = len(load_schema().fields)
        # Every other field is recorded: numbers at their mean, categories as their first class.
        mask = (torch.arange(fields) % 2).float()[None]
        modality = torch.zeros(1, dtype=torch.long)
        self.conditions = Conditions(modality, torch.zeros(1, fields), mask).to(DEVICE)

    def denoiser(self) -> Denoiser:
        """Return the denoiser with random weights, none of them zero."""
        if "denoiser" not in self.models:
            torch.manual_seed(SEED)
            unet = self.sizes.denoiser.network
            with DEVICE:
                model = Denoiser(unet, self.sizes.latent, load_schema())
            randomise_zeros(model, torch.Generator(DEVICE).manual_seed(SEED))
            self.models["denoiser"] = model.eval().requires_grad_(False)
        return self.models["denoiser"]

    def decoder(self, kind: str) -> Compressor:
        """Return "wfdm"'s or "maisi"'s compressor; only one stays in memory."""
        if kind not in self.models:
            self.models = {"denoiser": self.denoiser()}
            architecture = self.sizes.wavelet if kind == "wfdm" else self.sizes.maisi
            self.models[kind] = compressor(architecture)
        return self.models[kind]

    def drop(self) -> None:
        """Free all of it."""
        self.models.clear()
        self.results.clear()

    @torch.no_grad()
    def measure(self, kind: str, setting: str, allowed: float) -> dict[str, Any]:
        """Time whole samples in one setting, and keep the first one for `errors`."""
        denoiser, decoder = self.denoiser(), self.decoder(kind)
        process = self.sizes.denoiser.process
        times = sampling_times(self.sizes.steps, self.sizes.latent, process)
        kept: list[Tensor] = []

        def velocity(state: Tensor, t: float) -> Tensor:
            return denoiser(state, state.new_full((1,), t), self.conditions)

        def denoise(noise: Tensor) -> Tensor:
            with arithmetic(setting):
                return euler(velocity, noise, times)

        def decode(latent: Tensor) -> Tensor:
            with arithmetic(setting):
                volume = decoder.decode(latent).float()
            if not kept:  # in the first warm-up, so that no timed repeat pays for it
                kept.extend((latent.cpu(), volume.cpu()))
            return volume

        parts = {"denoise": denoise, "decode": decode}
        found = repeat(parts, self.sizes, allowed, self.noise)
        self.results[kind, setting] = kept
        return found

    def errors(self, kind: str, setting: str, _: float) -> dict[str, Any]:
        """Compare a setting's first sample with float32's: same noise, conditions and weights."""
        for wanted in ("float32", setting):
            if not self.results.get((kind, wanted)):
                raise LookupError(f"{kind} was not sampled in {wanted}")
        found: dict[str, Any] = {}
        pairs = zip(self.results[kind, "float32"], self.results[kind, setting], strict=True)
        for name, (wanted, got) in zip(("latent", "volume"), pairs, strict=True):
            error = got.double() - wanted.double()
            relative = float(error.norm() / wanted.double().norm())
            found[f"{name}_relative"] = float(f"{relative:.4g}")
            found[f"{name}_max_abs"] = float(f"{float(error.abs().max()):.4g}")
            found[f"{name}_sd_of_float32"] = float(f"{float(wanted.std()):.4g}")
        return found


def rows(samples: Samples) -> list[Row]:
    """Return the samples of WFDM, their errors, then the same for the MAISI generator."""
    found = []
    for kind, factor in (("wfdm", 1.0), ("maisi", 0.6)):
        decoder = "WF-SA-VAE" if kind == "wfdm" else "MAISI autoencoder"
        settings = {"batch": 1, "decoder": decoder, "steps": samples.sizes.steps}
        for setting in reversed(SETTINGS):
            work = partial(samples.measure, kind, setting)
            told = settings | {"arithmetic": setting}
            found.append(Row(f"sample, {kind}, {setting}", factor * SHARES[setting], work, told))
        for setting in SETTINGS[1:]:
            work = partial(samples.errors, kind, setting)
            told = settings | {
                "weights": "random, zero-initialised ones drawn from N(0, 1 / (3 fan-in)); a "
                "trained model's errors can differ",
            }
            found.append(Row(f"error, {kind}, {setting} to float32", 0.5, work, told))
    return found
