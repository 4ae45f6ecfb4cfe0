"""DDPM: noise added in `timesteps` steps, and what a denoiser says of it (paper, 2.5.4, table 5).

Ho et al. 2020 (arXiv 2006.11239), with the cosine schedule of Nichol and Dhariwal 2021 (arXiv
2102.09672) and the v prediction of Salimans and Ho 2022 (arXiv 2202.00512). Step n of T is the time
t = n / T: 0 is data, 1 is noise, as in every process here. (MONAI counts the same steps from 0, so
its timestep is n - 1.) Every function takes the settings, so that another process can stand in its
place.
"""

import functools

import torch
from torch import Tensor

from wfdm.config.denoisers import DiscreteDiffusionSettings

COSINE_OFFSET = 0.008  # Nichol and Dhariwal's, and MONAI's: the first steps are not too small
LARGEST_BETA = 0.999  # theirs too: the last step leaves something of the data


def noised(x0: Tensor, noise: Tensor, t: Tensor, settings: DiscreteDiffusionSettings) -> Tensor:
    """Return x_t = a x0 + s noise, with a^2 + s^2 = 1 (`levels`).

    Args:
        x0: (B, ...) data.
        noise: (B, ...) unit noise.
        t: (B,) times in [0, 1].
        settings: of the process.
    """
    a, s = _levels_like(x0, t, settings)
    return a * x0 + s * noise


def target(x0: Tensor, noise: Tensor, t: Tensor, settings: DiscreteDiffusionSettings) -> Tensor:
    """Return what the denoiser learns: v = a noise - s x0, epsilon, the noise, or x0 itself."""
    if settings.prediction != "v":
        return noise if settings.prediction == "epsilon" else x0
    a, s = _levels_like(x0, t, settings)
    return a * noise - s * x0


def predicted(
    output: Tensor, noisy: Tensor, t: Tensor, settings: DiscreteDiffusionSettings
) -> Tensor:
    """Return the target that a network's `output` stands for: the output itself.

    To unit-variance data the best linear answer is 0 for v: nothing is left to add.
    """
    return output


def clean(answer: Tensor, noisy: Tensor, t: Tensor, settings: DiscreteDiffusionSettings) -> Tensor:
    """Return the data that a predicted target means.

    It is x0 = a x_t - s v, or (x_t - s epsilon) / a, or what is predicted.

    Args:
        answer: (B, ...) predicted target.
        noisy: (B, ...) x_t.
        t: (B,) times in [0, 1].
        settings: of the process.
    """
    if settings.prediction == "x0":
        return answer
    a, s = _levels_like(noisy, t, settings)
    return (noisy - s * answer) / a if settings.prediction == "epsilon" else a * noisy - s * answer


def levels(t: Tensor, settings: DiscreteDiffusionSettings) -> tuple[Tensor, Tensor]:
    """Return a = sqrt(abar) and s = sqrt(1 - abar) at times t, float64, shaped as `t`."""
    kept = _kept(settings).to(t.device)[(t.double() * settings.timesteps).round().long()]
    return kept.sqrt(), (1 - kept).sqrt()


def training_times(
    uniform: Tensor, latent_shape: tuple[int, ...], settings: DiscreteDiffusionSettings
) -> Tensor:
    """Return the times of a training batch from `uniform` draws in [0, 1]: steps 1 to T alike."""
    steps = (uniform * settings.timesteps).floor() + 1
    return steps.clamp(max=settings.timesteps) / settings.timesteps


def sampling_times(
    steps: int, latent_shape: tuple[int, ...], settings: DiscreteDiffusionSettings
) -> Tensor:
    """Return the `steps` + 1 times of a sampler, float64, from 1 down to 0, evenly among the T.

    50 of 1000 are 1000, 980, ..., 20, 0 thousandths: MONAI's timesteps 999, 979, ..., 19.
    """
    even = torch.linspace(settings.timesteps, 0, steps + 1, dtype=torch.float64)
    return even.round() / settings.timesteps


@functools.cache
def _kept(settings: DiscreteDiffusionSettings) -> Tensor:
    """Return abar_n, the share of the data's variance left after n steps, n = 0 to T, float64.

    It is the product of 1 - beta over the steps. Cosine: 1 - beta_n = f(n / T) / f((n - 1) / T)
    with f(t) = cos^2(pi / 2 (t + o) / (1 + o)), at least 0.001. Scaled-linear: sqrt(beta_n) is even
    from the first to the last. Linear: beta_n is.
    """
    if settings.schedule == "cosine":
        t = torch.linspace(0, 1, settings.timesteps + 1, dtype=torch.float64)
        f = torch.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * torch.pi / 2) ** 2
        beta = (1 - f[1:] / f[:-1]).clamp(max=LARGEST_BETA)
    elif settings.schedule == "linear":
        first, last = settings.beta_first, settings.beta_last
        beta = torch.linspace(first, last, settings.timesteps, dtype=torch.float64)
    else:
        first, last = settings.beta_first**0.5, settings.beta_last**0.5
        beta = torch.linspace(first, last, settings.timesteps, dtype=torch.float64) ** 2
    return torch.cat([beta.new_ones(1), torch.cumprod(1 - beta, 0)])


def _levels_like(
    x: Tensor, t: Tensor, settings: DiscreteDiffusionSettings
) -> tuple[Tensor, Tensor]:
    """Return the levels of a batch, of the type of `x` and to be multiplied with it."""
    shape = (-1, *[1] * (x.dim() - 1))
    a, s = (level.to(x.dtype).reshape(shape) for level in levels(t, settings))
    return a, s
