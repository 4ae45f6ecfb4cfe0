"""Building blocks of the wavelet-fusion compressors (authors' code, MONAI's arithmetic)."""

from collections.abc import Sequence
from itertools import product
from typing import Self

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from wfdm.errors import UserError

Sides = tuple[int, int, int]
NORM_EPS = 1e-6
LOG_VARIANCE = (-30.0, 20.0)  # clamp, for numerical stability (2.5.1)
# A standard deviation of 0.08: at first the posterior hardly blurs the mean, so that there is
# something to learn from; the KL term widens it as far as its weight asks.
INITIAL_LOG_VARIANCE = -5.0
_ONEDNN: bool = torch.backends.mkldnn.is_available()
_SLOW_UP_TO = 20480  # torch's rule for float32, ConvParams::use_mkldnn
_FOLD_FROM = 4096  # voxels: at 2,304 folding lost a fifth, at 18,432 it saved a third (AVX2)
_FOLDED = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
"""which of three weights along an axis meet a voxel and the next, for even and for odd places"""


def check_groups(groups: int, *channels: int) -> None:
    """Raise UserError unless `groups` divides every number of channels."""
    if any(width % groups for width in channels):
        raise UserError(f"norm_groups {groups} must divide every number of channels {channels}")


def norm(channels: int, groups: int) -> nn.GroupNorm:
    """Return the group normalisation used throughout."""
    return nn.GroupNorm(groups, channels, eps=NORM_EPS)


class Convolution(nn.Conv3d):
    """A 3D convolution that is fast on a CPU for a single small volume too."""

    @classmethod
    def like(cls, conv: nn.Conv3d) -> Self:
        """Return the same convolution, of the same parameters; nothing is drawn."""
        with torch.device("meta"):
            made = cls(
                conv.in_channels,
                conv.out_channels,
                conv.kernel_size,  # type: ignore[arg-type]
                conv.stride,  # type: ignore[arg-type]
                conv.padding,  # type: ignore[arg-type]
            )
        made.weight, made.bias = conv.weight, conv.bias
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x (B, C, D, H, W)."""
        how = (self.stride, self.padding, self.dilation, self.groups)
        return _convolved(x, self.weight, self.bias, *how)  # type: ignore[arg-type]


class DoubledConvolution(Convolution):
    """Double each side by nearest neighbours, then a 3x3x3 convolution that keeps the size.

    On a CPU the two are one: the 27 neighbours of a voxel of the doubled volume are copies of 8
    voxels of x. With weights w_-1, w_0, w_1 along an axis, voxels 2i and 2i + 1 are

        w_-1 x_(i-1) + (w_0 + w_1) x_i    and    (w_-1 + w_0) x_i + w_1 x_(i+1)

    so one 2x2x2 convolution of x gives all eight of a cube, with 8/27 of the products. (As sums run
    in another order, the last bits differ.) Of few voxels the sums of weights cost more than that
    saves. What a GPU makes of it was not measured.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, 2D, 2H, 2W) of x (B, C, D, H, W)."""
        if x.device.type != "cpu" or 8 * x.shape[2:].numel() < _FOLD_FROM:
            return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        f = torch.tensor(_FOLDED, dtype=self.weight.dtype)
        folded = torch.einsum("pai,qbj,rck,uvijk->pqruvabc", f, f, f, self.weight)
        bias = None if self.bias is None else self.bias.repeat(8)
        return self._interleaved(_convolved(x, folded.flatten(0, 3), bias))

    def _interleaved(self, found: Tensor) -> Tensor:
        """Return (B, C, 2D, 2H, 2W) of all places of the cubes, (B, 8C, D + 1, H + 1, W + 1)."""
        d, h, w = (side - 1 for side in found.shape[2:])
        places = found.unflatten(1, (2, 2, 2, -1))
        cube = [
            places[:, p, q, r, :, p : p + d, q : q + h, r : r + w]
            for p, q, r in product((0, 1), repeat=3)
        ]
        split = torch.stack(cube, 2).unflatten(2, (2, 2, 2))
        return rearrange(split, "b c p q r d h w -> b c (d p) (h q) (w r)")


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sides = (1, 1, 1),
    padding: Sides = (1, 1, 1),
    dilation: Sides = (1, 1, 1),
    groups: int = 1,
) -> Tensor:
    """Return the convolution of x (B, C, D, H, W), on a CPU always by oneDNN.

    A single item of at most 20,480 numbers (channels x D x H) torch gives to a kernel of its own.
    That takes up to 6 times as long where channels are few, and gives other bits than a batch.
    """
    small = len(x) == 1 and x.shape[:4].numel() <= _SLOW_UP_TO
    if small and x.device.type == "cpu" and _by_onednn(x, weight):
        how = (padding, stride, dilation, groups)
        return torch.ops.aten.mkldnn_convolution(x, weight, bias, *how)
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Tell whether oneDNN is there and torch would take it for a larger x of this type."""
    if not _ONEDNN or torch.compiler.is_compiling():  # the compiler cannot trace that call
        return False
    return x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


class AveragePool(nn.AvgPool3d):
    """Means of cubes; on a CPU torch knows them in float32 alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the means, of the type of x."""
        if x.device.type == "cpu":
            return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


def quicken(module: nn.Module) -> None:
    """Put our own layers in the place of every plain 3D convolution and pooling in a module."""
    for name, child in module.named_children():
        if type(child) is nn.Conv3d:
            setattr(module, name, Convolution.like(child))
        elif type(child) is nn.AvgPool3d:
            setattr(module, name, AveragePool(child.kernel_size, child.stride, child.padding))
        else:
            quicken(child)


def conv3(inputs: int, outputs: int, zero: bool = False) -> nn.Conv3d:
    """Return a 3x3x3 convolution that keeps the size; `zero` lets it start as nothing."""
    conv = Convolution(inputs, outputs, kernel_size=3, padding=1)
    if zero:
        start_as_nothing(conv)
    return conv


def start_as_nothing(layer: nn.Module) -> None:
    """Set every parameter of `layer` to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class ResBlock(nn.Module):
    """Norm, SiLU, convolution, twice, plus a shortcut; (B, inputs, ...) -> (B, outputs, ...).

    The encoder's blocks change the number of channels in their first convolution
    (hidden = outputs), the decoder's in their second (hidden = inputs). A block starts as its
    shortcut, which speeds up the first steps (our choice: initial values are not published).
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(inputs, groups), conv3(inputs, hidden)
        self.norm2, self.conv2 = norm(hidden, groups), conv3(hidden, outputs, zero=True)
        same = inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv3d(inputs, outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, of the size of `x`."""
        h = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


@torch.no_grad()
def carry(conv: nn.Conv3d, inputs: Sequence[int], outputs: Sequence[int]) -> None:
    """Let a convolution pass on channels unchanged: `inputs` to `outputs`, one to one.

    Only those rows of its weight and bias change; the other outputs keep their initial values.
    """
    assert conv.bias is not None
    middle = tuple(side // 2 for side in conv.kernel_size)
    for source, target in zip(inputs, outputs, strict=True):
        conv.weight[target] = 0
        conv.weight[target, source][middle] = 1
        conv.bias[target] = 0


class SelfAttention(nn.Module):
    """One-head self-attention over all voxels plus its input; at first it is its input alone.

    At the study's size a volume has 107,520 tokens: only the fused kernels behind
    `scaled_dot_product_attention` can do that: they never hold the matrix of weights.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = norm(channels, groups)
        self.to_q, self.to_k, self.to_v, self.out = (nn.Linear(channels, channels) for _ in "qkvo")
        start_as_nothing(self.out)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + attention(x), (B, C, D, H, W)."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = (to(tokens).unsqueeze(1) for to in (self.to_q, self.to_k, self.to_v))
        h = self.out(F.scaled_dot_product_attention(q, k, v).squeeze(1))
        return x + h.transpose(1, 2).unflatten(2, x.shape[2:])


class Downsample(Convolution):
    """Halve each side: a strided convolution, padded by one voxel at the far ends only."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, D/2, H/2, W/2)."""
        return super().forward(F.pad(x, (0, 1, 0, 1, 0, 1)))


class Upsample(DoubledConvolution):
    """Double each side: nearest neighbours, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=3, padding=1)


def bottleneck(channels: int, groups: int, attention: bool) -> list[nn.Module]:
    """Return what WF-SA-VAE has at the deepest level and WF-VAE has not."""
    if not attention:
        return []
    return [
        ResBlock(channels, channels, channels, groups),
        SelfAttention(channels, groups),
        ResBlock(channels, channels, channels, groups),
    ]
