"""What Med-DDPM computes (Dorjsembe et al. 2024, arXiv 2305.18453, IEEE JBHI): DDPM given a mask.

The network sees four noisy modalities beside four planes of a mask, and says what the noise is.
Planes are one-hot: tumour labels 1, 2 and 3, and the brain without tumour. Axes are (depth, second,
first) of the image's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from wfdm.baselines.ancestral import Schedule, cosine_betas, data_of, step_back
from wfdm.baselines.diffusion_unet import Shape, UNet

STEPS = 250
SIZE = (192, 192, 144)  # of the published model's volumes, image axes
CHANNELS = ("T1w", "T1Gd", "T2w", "FLAIR")
LABELS = (1, 2, 3, 4)
PERIOD = 1000.0
PUBLISHED = Shape(
    inputs=len(CHANNELS) + len(LABELS),
    outputs=len(CHANNELS),
    channels=64,
    multiples=(1, 1, 2, 3, 4),
    blocks=2,
    skips="beside",
    resampling="convolution",
    middle_attention=True,
    period=PERIOD,
)


def planes_of(labels: Tensor) -> Tensor:
    """Return the condition of labels (B, D, H, W), one-hot without the background, float32."""
    one_hot = F.one_hot(labels.long(), len(LABELS) + 1)[..., 1:]
    return one_hot.movedim(-1, 1).float()


def schedule() -> Schedule:
    """Return the published schedule."""
    return Schedule.of(cosine_betas(STEPS))


@torch.inference_mode()
def step(
    network: UNet, plan: Schedule, place: int, x: Tensor, condition: Tensor, noise: Tensor
) -> Tensor:
    """Take one step of the authors' sampler: predicted data clamped, the posterior's variance.

    Args:
        network: in eval mode.
        plan: the steps to take.
        place: this one's, counted from the end of sampling.
        x: the state, (B, 4, D, W, H).
        condition: as `planes_of` returns it.
        noise: unit noise, shaped as x.
    """
    asked = plan.asked[place].to(x.device).expand(len(x))
    answer = network(torch.cat([x, condition], dim=1), asked)
    x0 = data_of(plan, place, x, answer).clamp(-1, 1)
    return step_back(plan, place, x, x0, noise, "posterior")
