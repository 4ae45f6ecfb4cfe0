"""Processes and samplers on a mixture of Gaussians, whose answers are known, and against MONAI."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler, RFlowScheduler
from scipy.integrate import solve_ivp
from torch import Tensor

from wfdm.config.denoisers import DiscreteDiffusionSettings, RectifiedFlowSettings
from wfdm.config.generators import SAMPLERS, SamplerSettings
from wfdm.processes import ddpm, rflow
from wfdm.processes.samplers import carry

LATENT = (2, 2, 3, 2)
RFLOW = RectifiedFlowSettings(reference_voxels=12)  # times of LATENT are not shifted
COSINE = DiscreteDiffusionSettings(kind="ddpm")
LINEAR = DiscreteDiffusionSettings(kind="ddpm", schedule="scaled-linear")
WDM = DiscreteDiffusionSettings(kind="ddpm", schedule="linear", beta_first=1e-4, beta_last=0.02)
SCHEDULES = {"cosine": "cosine", "scaled-linear": "scaled_linear_beta", "linear": "linear_beta"}


class Mixture:
    """Data of two Gaussians in latent shape, and what a perfect denoiser answers.

    A posterior of Gaussians is Gaussian: E[x0 | x] = m + a d^2 (x - a m) / (a^2 d^2 + s^2) in each
    component, weighted by how probable x makes the component.
    """

    def __init__(self, process, settings, shape: tuple[int, ...] = LATENT) -> None:
        self.process, self.settings = process, settings
        own = torch.Generator().manual_seed(3)
        self.means = 0.6 * torch.randn((2, *shape), dtype=torch.float64, generator=own)
        self.weights, self.deviation = torch.tensor([0.3, 0.7], dtype=torch.float64), 0.5

    def answers(self, x: Tensor, a: float, s: float) -> tuple[Tensor, Tensor]:
        """Return E[x0 | x] and E[noise | x] of states x (B, ...)."""
        variance = (a * self.deviation) ** 2 + s**2
        centred = x[:, None] - a * self.means
        logits = self.weights.log() - centred.flatten(2).square().sum(2) / (2 * variance)
        shares = logits.softmax(1).reshape(*logits.shape, *[1] * (x.dim() - 1))
        clean = self.means + a * self.deviation**2 / variance * centred
        return (shares * clean).sum(1), (shares * s / variance * centred).sum(1)

    def levels(self, times: Tensor) -> tuple[Tensor, Tensor]:
        return self.process.levels(times, self.settings)

    def _at(self, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        a, s = (float(level) for level in self.levels(torch.tensor(t, dtype=torch.float64)))
        return self.answers(x, a, s)

    def clean(self, x: Tensor, t: float) -> Tensor:
        """Through the process's target, as a network's answer goes."""
        times = torch.full((len(x),), t, dtype=torch.float64)
        return self.process.clean(self.predicted(x, t), x, times, self.settings)

    def predicted(self, x: Tensor, t: float) -> Tensor:
        times = torch.full((len(x),), t, dtype=torch.float64)
        return self.process.target(*self._at(x, t), times, self.settings)

    def carried(self, start: Tensor, steps: int, draw=None, **sampling) -> Tensor:
        times = self.process.sampling_times(steps, LATENT, self.settings)
        return carry(SamplerSettings(steps=steps, **sampling), self, start, times, draw)


def starts() -> Tensor:
    return torch.randn(
        (5, *LATENT), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def solved(slope: Callable[[float, Tensor], Tensor], start: Tensor, begin: float) -> Tensor:
    """Return where SciPy's eighth-order solver carries `start` from `begin` to 0."""

    def flat(t: float, x: np.ndarray) -> np.ndarray:
        return slope(t, torch.from_numpy(x).reshape(start.shape)).numpy().ravel()

    found = solve_ivp(flat, (begin, 0), start.numpy().ravel(), "DOP853", rtol=1e-11, atol=1e-12)
    return torch.from_numpy(found.y[:, -1]).reshape(start.shape)


def truth(mixture: Mixture) -> Tensor:
    """Return the end points of the probability flow from `starts`.

    Of straight paths dx/dt = noise - x0; of a = cos(f), s = sin(f) it is dx/df = a noise - s x0.
    """

    def straight(t: float, x: Tensor) -> Tensor:
        clean, noise = mixture.answers(x, 1 - t, t)
        return noise - clean

    def circular(f: float, x: Tensor) -> Tensor:
        clean, noise = mixture.answers(x, np.cos(f), np.sin(f))
        return np.cos(f) * noise - np.sin(f) * clean

    if mixture.process is rflow:
        return solved(straight, starts(), 1.0)
    a, s = mixture.levels(torch.ones(1))
    return solved(circular, starts(), float(torch.atan2(s, a)))


@pytest.mark.parametrize(
    ("process", "settings", "sampler", "order", "error"),
    [
        (rflow, RFLOW, "euler", 1, 0.1),
        (rflow, RFLOW, "heun", 2, 0.003),
        (rflow, RFLOW, "dpm-solver++", 2, 0.02),
        (ddpm, COSINE, "ddim", 1, 0.1),
        (ddpm, COSINE, "dpm-solver++", 2, 0.02),
        (ddpm, LINEAR, "ddim", 1, 0.1),
        (ddpm, LINEAR, "dpm-solver++", 1, 0.03),
    ],
)
def test_the_error_falls_at_the_promised_order(process, settings, sampler, order, error):
    """Against SciPy's solution of the flow: twice the steps, 1 / 2^order of the error.

    Scaled-linear noise begins like sqrt(n), so that the last of even steps in n is of first order,
    whatever the sampler; DPM-Solver++ still has a third of DDIM's error there.
    """
    mixture = Mixture(process, settings)
    exact = truth(mixture)
    errors = [
        float((mixture.carried(starts(), steps, sampler=sampler) - exact).abs().max())
        for steps in (50, 100, 200, 500)
    ]
    measured = [
        np.log(early / late) / np.log(more / few)
        for (early, late), (few, more) in zip(
            pairwise(errors), pairwise((50, 100, 200, 500)), strict=True
        )
    ]
    assert errors[0] < error
    assert measured[-1] == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("settings", [COSINE, LINEAR])
def test_ancestral_samples_have_the_mixtures_mean_and_covariance(settings):
    shape, number = (2, 1, 1, 2), 20_000
    mixture = Mixture(ddpm, settings, shape)
    own = torch.Generator().manual_seed(1)

    def draw(step: int) -> Tensor:
        return torch.randn((number, *shape), dtype=torch.float64, generator=own)

    found = mixture.carried(draw(0), 250, draw, sampler="ancestral").flatten(1).numpy()
    means, weights = mixture.means.flatten(1).numpy(), mixture.weights.numpy()
    mean = weights @ means
    spread = (weights[:, None] * (means - mean)).T @ (means - mean)
    np.testing.assert_allclose(found.mean(0), mean, atol=0.03)
    covariance = mixture.deviation**2 * np.eye(4) + spread
    np.testing.assert_allclose(np.cov(found.T), covariance, atol=0.03)


# --- MONAI ----------------------------------------------------------------------------------


def answer(x: Tensor, t: float) -> Tensor:
    """Something that a network could answer, at a time of 0 to 1."""
    return torch.tanh(1.3 * x) * (0.3 + t)


class Network:
    """A network's answers in the place of the mixture's."""

    def __init__(self, process, settings) -> None:
        self.process, self.settings = process, settings

    def levels(self, times: Tensor) -> tuple[Tensor, Tensor]:
        return self.process.levels(times, self.settings)

    def predicted(self, x: Tensor, t: float) -> Tensor:
        return answer(x, t)

    def clean(self, x: Tensor, t: float) -> Tensor:
        return self.process.clean(answer(x, t), x, x.new_full((len(x),), t), self.settings)


def test_fifty_euler_steps_are_monais():
    """On its own even times; with the answers' times equal, not cut to half precision."""
    scheduler = RFlowScheduler(use_discrete_timesteps=False)
    scheduler.set_timesteps(50)
    theirs = starts()
    for timestep in range(1000, 0, -20):
        theirs, _ = scheduler.step(answer(theirs, timestep / 1000), timestep, theirs, timestep - 20)
    times = rflow.sampling_times(50, LATENT, RFLOW)
    ours = carry(SamplerSettings(), Network(rflow, RFLOW), starts(), times, lambda step: starts())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


LEARNED = [(COSINE, "v"), (LINEAR, "v"), (LINEAR, "epsilon")]
PREDICTIONS = {"v": "v_prediction", "epsilon": "epsilon", "x0": "sample"}


def monais(kind: type, settings: DiscreteDiffusionSettings, prediction: str, **options):
    betas = {"beta_start": settings.beta_first, "beta_end": settings.beta_last}
    return kind(
        schedule=SCHEDULES[settings.schedule],
        clip_sample=False,
        prediction_type=PREDICTIONS[prediction],
        **(betas if settings.schedule != "cosine" else {}),
        **options,
    )


@pytest.mark.parametrize("settings", [COSINE, LINEAR, WDM])
def test_noise_and_targets_are_monais(settings):
    steps = torch.tensor([1, 2, 400, 999, 1000])
    x0, noise = starts().float(), starts().float().flip(0)
    scheduler = monais(DDPMScheduler, settings, "v")
    noisy = ddpm.noised(x0, noise, steps / 1000, settings)
    torch.testing.assert_close(noisy, scheduler.add_noise(x0, noise, steps - 1), rtol=0, atol=1e-5)
    v = ddpm.target(x0, noise, steps / 1000, settings)
    torch.testing.assert_close(v, scheduler.get_velocity(x0, noise, steps - 1), rtol=0, atol=1e-5)
    epsilon = settings.model_copy(update={"prediction": "epsilon"})
    assert ddpm.target(x0, noise, steps / 1000, epsilon) is noise
    data = settings.model_copy(update={"prediction": "x0"})
    assert ddpm.target(x0, noise, steps / 1000, data) is x0
    at = slice(0, 4)  # at the last step of cosine x0 cannot be told from noise in single precision
    for each, found in ((settings, v), (epsilon, noise), (data, x0)):
        clean = ddpm.clean(found[at], noisy[at], steps[at] / 1000, each)
        torch.testing.assert_close(clean, x0[at], rtol=0, atol=2e-3)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    ("settings", "prediction"), [(COSINE, "v"), (LINEAR, "v"), (LINEAR, "epsilon"), (WDM, "x0")]
)
def test_fifty_ddim_steps_are_monais(settings, prediction, eta):
    """At the timesteps 999, 979, ..., 19: by itself MONAI rounds 50 times of 999 to 0."""
    settings = settings.model_copy(update={"prediction": prediction})
    scheduler = monais(DDIMScheduler, settings, prediction)
    scheduler.set_timesteps(50)
    theirs, own = starts(), torch.Generator().manual_seed(5)
    for timestep in range(999, 0, -20):
        output = answer(theirs, (timestep + 1) / 1000)
        theirs, _ = scheduler.step(output, timestep, theirs, eta, own)
    own = torch.Generator().manual_seed(5)
    times = ddpm.sampling_times(50, LATENT, settings)
    sampling = SamplerSettings(sampler="ddim", eta=eta)
    ours = carry(sampling, Network(ddpm, settings), starts(), times, drawn(own))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "prediction"), [(COSINE, "v"), (LINEAR, "v"), (LINEAR, "epsilon"), (WDM, "x0")]
)
def test_a_thousand_ancestral_steps_are_monais(settings, prediction):
    settings = settings.model_copy(update={"prediction": prediction})
    scheduler = monais(DDPMScheduler, settings, prediction)
    theirs, own = starts(), torch.Generator().manual_seed(5)
    for timestep in range(999, -1, -1):
        output = answer(theirs, (timestep + 1) / 1000)
        theirs, _ = scheduler.step(output, timestep, theirs, own)
    own = torch.Generator().manual_seed(5)
    times = ddpm.sampling_times(1000, LATENT, settings)
    sampling = SamplerSettings(sampler="ancestral", steps=1000)
    ours = carry(sampling, Network(ddpm, settings), starts(), times, drawn(own))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def drawn(own: torch.Generator) -> Callable[[int], Tensor]:
    return lambda step: torch.randn((5, *LATENT), dtype=torch.float64, generator=own)


# --- times and pairings ---------------------------------------------------------------------


def test_training_draws_every_step_alike_and_no_other():
    even = (torch.arange(5000) + 0.5) / 5000
    steps = ddpm.training_times(even, LATENT, COSINE) * 1000
    assert torch.equal(steps.round().long().bincount(), torch.tensor([0, *[5] * 1000]))
    assert float(ddpm.training_times(torch.ones(1), LATENT, COSINE)) == 1
    assert float(ddpm.training_times(torch.zeros(1), LATENT, COSINE)) == pytest.approx(0.001)


def test_a_process_begins_at_data_and_ends_at_noise():
    for process, settings in ((rflow, RFLOW), (ddpm, COSINE), (ddpm, LINEAR), (ddpm, WDM)):
        a, s = process.levels(torch.tensor([0.0, 1.0], dtype=torch.float64), settings)
        assert (float(a[0]), float(s[0])) == (1, 0)
        assert float(a[1]) < 0.1 and float(s[1]) > 0.99


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("settings", [RFLOW, COSINE])
def test_samplers_that_do_not_fit_are_refused(sampler, settings):
    found = SamplerSettings(sampler=sampler).misfit(settings, 0)
    assert (found is None) == (settings.kind in SAMPLERS[sampler])
    assert found is None or found.startswith(f"sampler: {sampler} does not fit the process")


@pytest.mark.parametrize(
    ("sampling", "process", "said"),
    [
        ({"sampler": "ddim", "steps": 1001}, COSINE, "steps: 1001 are more than the 1000"),
        ({"sampler": "ancestral", "eta": 0.5}, COSINE, "eta: 0.5 is of ddim alone"),
        ({"sampler": "heun", "clamp": True}, RFLOW, "clamp: heun follows a velocity"),
        ({"guidance": 2}, RFLOW, "guidance: 2 needs a denoiser that was trained with"),
    ],
)
def test_what_a_denoiser_cannot_do_is_said(sampling, process, said):
    assert SamplerSettings(**sampling).misfit(process, 0).startswith(said)
    assert SamplerSettings(guidance=2).misfit(RFLOW, 0.1) is None
