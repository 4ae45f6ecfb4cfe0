"""What WDM computes (Friedrich et al. 2024, arXiv 2402.19043): DDPM on Haar subbands of a volume.

The network sees the eight subbands of a volume in [-1, 1] and says what they are without noise.
Subbands stand in alphabetical order, L before H, a letter for each spatial axis; the first, the
mean, is divided by 3 so that all are of about one size.
"""

import torch
from torch import Tensor

from wfdm.baselines.ancestral import Schedule, linear_betas, step_back
from wfdm.baselines.diffusion_unet import Shape, UNet
from wfdm.models.compressors.uncompressed import SUBBANDS, as_image, as_seen

STEPS = 1000
SIDE = 128  # voxels of the published model's volumes
PUBLISHED = Shape(
    inputs=SUBBANDS,
    outputs=SUBBANDS,
    channels=64,
    multiples=(1, 2, 2, 4, 4),
    blocks=2,
    skips="averaged",
    resampling="block",
)


def schedule(steps: int = STEPS) -> Schedule:
    """Return the published schedule; fewer steps are spread over all, both ends included."""
    every = Schedule.of(linear_betas(STEPS))
    return every.every(torch.linspace(0, STEPS - 1, steps).round().long())


@torch.inference_mode()
def step(network: UNet, plan: Schedule, place: int, x: Tensor, noise: Tensor) -> Tensor:
    """Take one step of the authors' sampler.

    What the network predicts becomes an image, is clamped to [-1, 1], and becomes subbands again.
    The noise added has the variance beta.

    Args:
        network: in eval mode.
        plan: the steps to take.
        place: this one's, counted from the end of sampling.
        x: the state, (B, 8, D, H, W).
        noise: unit noise, shaped as x.
    """
    return step_back(plan, place, x, predicted(network, plan, place, x), noise, "beta")


@torch.inference_mode()
def predicted(network: UNet, plan: Schedule, place: int, x: Tensor) -> Tensor:
    """Return the clamped data, as the network sees it, that is predicted from a state."""
    asked = plan.asked[place].to(x.device).expand(len(x))
    return as_seen(as_image(network(x, asked)).clamp(-1, 1))
