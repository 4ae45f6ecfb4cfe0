"""The terms of the stage A objective (paper, 2.5.1). Volumes are (B, 1, D, H, W)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfdm.models.features.medicalnet import MedicalNet


class Perceptual(nn.Module):
    """L_perc, the L1 distance of features.

    The paper leaves Phi open. Here it is the first stages of the network (all four, unless set
    otherwise), each divided by the mean magnitude of the real volume's features: early stages see
    edges, late ones context, and the division lets each count the same at any scale of its
    weights (a random stand-in's is arbitrary). Both volumes are standardised by the real one's
    mean and deviation, the range MedicalNet was trained in, so that an error of brightness is not
    normalised away.
    """

    def __init__(self, network: MedicalNet, stages: int = 4) -> None:
        super().__init__()
        self.network, self.stages = network, stages

    def forward(self, real: Tensor, other: Tensor) -> Tensor:
        """Return the distance of `other` from `real`, a scalar >= 0."""
        axes = (1, 2, 3, 4)
        mean = real.mean(axes, keepdim=True)
        # A crop without any brain must not blow up its reconstruction.
        deviation = real.std(axes, keepdim=True).clamp(min=0.01)
        with torch.no_grad():
            wanted = self.network.maps((real - mean) / deviation, self.stages)
        found = self.network.maps((other - mean) / deviation, self.stages)
        distances = [
            (a - b).abs().mean() / a.abs().mean().clamp(min=1e-6)
            for a, b in zip(wanted, found, strict=True)
        ]
        return torch.stack(distances).mean()


def adversarial_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Return L_adv^D = -1/2 (E[log D(v)] + E[log(1 - D(v'))]) of two maps of logits."""
    # log D = -softplus(-logit) and log(1 - D) = -softplus(logit), stable at both ends.
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def adversarial_generator(fake: Tensor) -> Tensor:
    """Return L_adv^G = -E[log D(v')] of a map of logits."""
    return F.softplus(-fake).mean()
