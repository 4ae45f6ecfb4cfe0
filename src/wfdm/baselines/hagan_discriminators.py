"""HA-GAN's discriminators (Sun et al. 2022, arXiv 2008.01910).

D^H sees a slab of an eighth of the slices and where it begins, D^L the volume of a quarter of the
side. Every layer is divided by its largest singular value (Miyato et al. 2018, arXiv 1802.05957),
leaky ReLU of slope 0.2. Names and sizes of the layers are the published ones; the rest is written
from the paper, for the authors' code has no licence.

With classes, each logit gains a projection of the class, <V y, phi(x)> (Miyato and Koyama 2018,
arXiv 1802.05637, equation 3), phi being the last features before the logit.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from wfdm.baselines.hagan_networks import SIDES

SLOPE = 0.2
FLAT = (
    ((4, 4, 4), (2, 2, 2), (1, 1, 1)),
    ((4, 4, 4), (2, 2, 2), (1, 1, 1)),
    ((4, 4, 4), (2, 2, 2), (1, 1, 1)),
    ((2, 4, 4), (2, 2, 2), (0, 1, 1)),
    ((2, 4, 4), (2, 2, 2), (0, 1, 1)),
    ((1, 4, 4), (1, 2, 2), (0, 1, 1)),
    ((1, 4, 4), (1, 1, 1), (0, 0, 0)),
)
"""kernel, stride and padding of each layer of D^H: a slab (S/8, S, S) becomes (1, 1, 1)"""


class _Features(nn.Module):
    """A chain of convolutions conv1, conv2, ...; networks of 128 voxels a side have no conv1."""

    first: int
    last: int

    def _features(self, x: Tensor) -> Tensor:
        for number in range(self.first, self.last + 1):
            x = F.leaky_relu(self.get_submodule(f"conv{number}")(x), SLOPE)
        return x


def _label(classes: int, features: int) -> nn.Module | None:
    return spectral_norm(nn.Linear(classes, features, bias=False)) if classes else None


def _projected(label: nn.Module | None, told: Tensor | None, features: Tensor) -> Tensor:
    """Return <V y, phi> (B,) of features phi (B, n); 0 without classes."""
    if label is None:
        return features.new_zeros(len(features))
    return (label(told) * features).sum(1)


class LowResolutionDiscriminator(_Features):
    """D^L: a volume of a quarter of the side to a logit."""

    def __init__(self, side: int, channels: int = 256, classes: int = 0) -> None:
        super().__init__()
        widths = [channels // 8, channels // 4, channels // 2, channels]
        self.first, self.last = (1 if side == SIDES[1] else 2), 4
        inputs = 1
        for number in range(self.first, self.last + 1):
            conv = nn.Conv3d(inputs, widths[number - 1], kernel_size=4, stride=2, padding=1)
            self.add_module(f"conv{number}", spectral_norm(conv))
            inputs = widths[number - 1]
        self.conv5 = spectral_norm(nn.Conv3d(channels, 1, kernel_size=4))
        self.label = _label(classes, channels)

    def forward(self, small: Tensor, told: Tensor | None = None) -> Tensor:
        """Return the logits (B,) of volumes (B, 1, S/4, S/4, S/4); phi is summed over positions."""
        h = self._features(small)
        return self.conv5(h).flatten() + _projected(self.label, told, h.sum((2, 3, 4)))


class Discriminator(_Features):
    """D^H, and in it D^L: a slab and the small volume to one logit, the mean of both."""

    def __init__(self, side: int, channels: int = 512, classes: int = 0) -> None:
        """Make it for volumes of `side` voxels a side, 128 or 256."""
        super().__init__()
        widths = [channels // part for part in (32, 16, 8, 4, 2, 1, 4)]
        self.first, self.last = (1 if side == SIDES[1] else 2), 7
        inputs = 1
        for number in range(self.first, self.last + 1):
            kernel, stride, padding = FLAT[number - 1]
            conv = nn.Conv3d(inputs, widths[number - 1], kernel, stride, padding)
            self.add_module(f"conv{number}", spectral_norm(conv))
            inputs = widths[number - 1]
        self.fc1 = spectral_norm(nn.Linear(inputs + 1, channels // 8))
        self.fc2 = spectral_norm(nn.Linear(channels // 8, 1))
        self.label = _label(classes, channels // 8)
        self.sub_D = LowResolutionDiscriminator(side, channels // 2, classes)

    def forward(self, slab: Tensor, small: Tensor, place: float, told: Tensor | None) -> Tensor:
        """Return the logits (B,), positive for what looks real.

        Args:
            slab: (B, 1, S/8, S, S) in [-1, 1].
            small: (B, 1, S/4, S/4, S/4), of the same volumes.
            place: the slab's first slice over S, in [0, 7/8].
            told: (B, classes) one-hot; None where it was made without classes.
        """
        h = self._features(slab).flatten(1)
        h = F.leaky_relu(self.fc1(torch.cat([h, h.new_full((len(h), 1), place)], 1)), SLOPE)
        full = self.fc2(h)[:, 0] + _projected(self.label, told, h)
        return (full + self.sub_D(small, told)) / 2
