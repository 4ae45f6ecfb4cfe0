"""LPIPS (Zhang et al., 2018) of volumes, offline: torchvision's backbones, but not torchvision.

The backbone's ImageNet weights and the learned linear heads are two files, placed by checksum.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from wfdm.config.features import LpipsSettings
from wfdm.errors import UserError
from wfdm.models.weights import read_state

SHIFT = (-0.030, -0.088, -0.188)  # of LPIPS, on values in [-1, 1]
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10
CHUNK = 32  # slices in the network at once
SMALLEST = {"alex": 31, "vgg": 16}  # sides of a slice that survive the backbone's strides

# Layers by their number in torchvision's `features`, so that its files fit; each tap is the output
# of a rectifier whose features are compared.
VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # 0: pooling
TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}


class Lpips(nn.Module):
    """The distance of two volumes, as the authors measure it: slices along each axis.

    For every axis the mean over slices, then the sum over the three axes (MONAI's "fake 3D"
    PerceptualLoss). The authors draw half of the slices at random at every call; here each
    `every`-th is taken, by default all, which is what theirs gives on average.

    Args:
        backbone: "alex" or "vgg".
        every: which slices count.
    """

    def __init__(self, backbone: str, every: int = 1) -> None:
        super().__init__()
        self.features: nn.Sequential = _alexnet() if backbone == "alex" else _vgg16()
        self.taps, self.every, self.smallest = TAPS[backbone], every, SMALLEST[backbone]
        widths = [_channels(self.features, tap) for tap in self.taps]
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in widths)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)

    def forward(self, real: Tensor, other: Tensor) -> Tensor:
        """Return the mean distance of volumes (B, 1, D, H, W) in [0, 1], a scalar >= 0.

        Raises:
            UserError: a side is too small for the backbone.
        """
        if min(real.shape[2:]) < self.smallest:
            raise UserError(
                f"LPIPS cannot compare slices of {'x'.join(map(str, real.shape[2:]))} voxels: give "
                f"volumes and crops sides of {self.smallest} at least, or set lpips to null"
            )
        total = real.new_zeros(())
        for axis in (2, 3, 4):
            a, b = (
                volume.movedim(axis, 1).flatten(0, 1)[:: self.every] for volume in (real, other)
            )
            pairs = zip(a.split(CHUNK), b.split(CHUNK), strict=True)
            total = total + torch.cat([self.slices(x, y) for x, y in pairs]).mean()
        return total

    def slices(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the LPIPS of grey images (N, 1, H, W) in [0, 1], (N,)."""
        distance = a.new_zeros(len(a))
        for x, y, head in zip(self._maps(a), self._maps(b), self.heads, strict=True):
            difference = (_unit(x) - _unit(y)).square()
            distance = distance + torch.einsum("nchw,c->nhw", difference, head).mean((1, 2))
        return distance

    def _maps(self, images: Tensor) -> list[Tensor]:
        h = (2 * images - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        maps = []
        for index, layer in enumerate(list(self.features)[: self.taps[-1] + 1]):
            h = layer(h)
            if index in self.taps:
                maps.append(h)
        return maps


def load(settings: LpipsSettings, weights: Path, heads: Path) -> Lpips:
    """Return LPIPS with the weights of two verified files, frozen.

    Raises:
        UserError: a file does not hold what the settings say.
    """
    module = Lpips(settings.backbone, settings.every)
    try:
        prefix, backbone = "features.", read_state(weights)
        features = {k[len(prefix) :]: v for k, v in backbone.items() if k.startswith(prefix)}
        module.features.load_state_dict(features)
        learned = read_state(heads)
        for index, head in enumerate(module.heads):
            head.data.copy_(learned[f"lin{index}.model.1.weight"].flatten())
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{weights} and {heads} do not hold LPIPS with backbone '{settings.backbone}': {reason}"
        ) from None
    return module.eval().requires_grad_(False)


def _unit(features: Tensor) -> Tensor:
    """Normalise each pixel's feature vector to length one."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + EPSILON)


def _alexnet() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def _vgg16() -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 3
    for channels in VGG:
        if channels:
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
            width = channels
        else:
            layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def _channels(features: nn.Sequential, tap: int) -> int:
    convolution = features[tap - 1]
    assert isinstance(convolution, nn.Conv2d)
    return convolution.out_channels
