"""The networks of HA-GAN (Sun et al. 2022, arXiv 2008.01910, IEEE JBHI 26(8)).

One generator makes features of a quarter of the volume's side from a vector; one head turns a slab
of them, or all, into full resolution, another turns all of them into a volume of a quarter of the
side. So a training step needs no full-size volume. Two encoders lead back to the vector.

Upsampling is by nearest neighbours before a convolution, normalisation by groups of 8, then ReLU; a
smaller network has as many groups as divide its channels.
Networks for 128 and 256 voxels have the same weights, name for name and size for size: which they
are for must be told. Parameters carry the published names.
"""

from itertools import pairwise
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 8
START = 4  # voxels a side of the first features
SIDES = (128, 256)
LATENT, CHANNELS = 1024, 32  # the published generator's


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(gcd(GROUPS, channels), channels)


def _conv(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, kernel_size=3, padding=1)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Generator(nn.Module):
    """A vector to a volume."""

    def __init__(self, side: int, latent: int = LATENT, channels: int = CHANNELS) -> None:
        """Make it for volumes of `side` voxels a side, 128 or 256."""
        super().__init__()
        self.side = side
        widths = [16 * channels, 16 * channels, 16 * channels, 8 * channels, 4 * channels]
        self.fc1 = nn.Linear(latent, widths[0] * START**3)
        widths += [2 * channels, channels]
        for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            self.add_module(f"tp_conv{number}", _conv(inputs, outputs))
            self.add_module(f"bn{number}", _norm(outputs))
        self.tp_conv7 = _conv(channels, 1)
        self.sub_G = LowResolution(2 * channels)

    def features(self, z: Tensor) -> Tensor:
        """Return the features (B, C, S/4, S/4, S/4) of vectors z (B, latent)."""
        h = self._layer(1, self.fc1(z).unflatten(1, (-1, START, START, START)))
        for number in (2, 3, 4):
            h = self._layer(number, _twice(h))
        # At 128 voxels a side these are the features' size already.
        return self._layer(5, _twice(h) if self.side == SIDES[1] else h)

    def full(self, features: Tensor) -> Tensor:
        """Return the volume of features, or of a slab of them, four times as large a side."""
        h = self._layer(6, _twice(features))
        return torch.tanh(self.tp_conv7(_twice(h)))

    def forward(self, z: Tensor) -> Tensor:
        """Return volumes (B, 1, S, S, S) in (-1, 1)."""
        return self.full(self.features(z))

    def slab(self, z: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Return what a training step sees: a slab in full, and the whole in a quarter of the size.

        Args:
            z: (B, latent).
            first: the slab's first slice; it has S/8 of them.
        """
        features = self.features(z)
        begin = first // 4
        part = features[:, :, begin : begin + self.side // 32]
        return self.full(part), self.sub_G(features)

    def _layer(self, number: int, h: Tensor) -> Tensor:
        conv, norm = (self.get_submodule(f"{name}{number}") for name in ("tp_conv", "bn"))
        return F.relu(norm(conv(h)))


class LowResolution(nn.Module):
    """Features to a volume of their own size; only training needs it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.tp_conv1, self.bn1 = _conv(channels, half), _norm(half)
        self.tp_conv2, self.bn2 = _conv(half, quarter), _norm(quarter)
        self.tp_conv3 = _conv(quarter, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, 1, S/4, S/4, S/4) in (-1, 1)."""
        h = F.relu(self.bn1(self.tp_conv1(h)))
        h = F.relu(self.bn2(self.tp_conv2(h)))
        return torch.tanh(self.tp_conv3(h))


def _halving(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, kernel_size=4, stride=2, padding=1)


class Encoder(nn.Module):
    """A volume, or a slab, to features of a quarter of its side."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        half = channels // 2
        self.conv1, self.bn1 = _halving(1, half), _norm(half)
        self.conv2, self.bn2 = _conv(half, half), _norm(half)
        self.conv3, self.bn3 = _halving(half, channels), _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, D/4, H/4, W/4), at least 0."""
        for number in (1, 2, 3):
            conv, norm = (self.get_submodule(f"{name}{number}") for name in ("conv", "bn"))
            x = F.relu(norm(conv(x)))
        return x


class SubEncoder(nn.Module):
    """Features of a quarter of the volume's side to the vector."""

    def __init__(self, side: int, channels: int = 256, latent: int = LATENT) -> None:
        """Make it for volumes of `side` voxels a side: 256 has one layer more than 128."""
        super().__init__()
        widths = [channels // 4, channels // 8, channels // 4, channels // 2, channels]
        if side == SIDES[0]:
            widths = [channels // 4, *widths[2:]]
        self.first = 6 - len(widths)  # number of the first layer: the last is 5
        for number, (inputs, outputs) in enumerate(pairwise(widths), start=self.first):
            self.add_module(f"conv{number}", _halving(inputs, outputs))
            self.add_module(f"bn{number}", _norm(outputs))
        self.conv5 = nn.Conv3d(channels, latent, kernel_size=START)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, latent)."""
        for number in range(self.first, 5):
            conv, norm = (self.get_submodule(f"{name}{number}") for name in ("conv", "bn"))
            h = F.relu(norm(conv(h)))
        return self.conv5(h).flatten(1)
