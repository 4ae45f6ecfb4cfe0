"""The U-Net of WDM and Med-DDPM: that of Dhariwal and Nichol 2021 (arXiv 2105.05233), in 3D.

The two differ in how they change resolution, how skips join, where they attend, and in the period
of the sinusoid: `Shape` says so. Parameters carry the published names, so a part's name is its
place: `input_blocks.3.1` is the attention of the third part on the way down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfdm.models.blocks import AveragePool

_MEANS = AveragePool(kernel_size=2)


@dataclass(frozen=True)
class Shape:
    """What a U-Net is.

    Attributes:
        inputs: channels that it is given, all of them side by side.
        outputs: channels that it answers.
        channels: of the first level.
        multiples: of `channels`, at each level; each level halves the side of the one before.
        blocks: at each level on the way down; one more on the way up.
        skips: what comes from the way down is averaged with what comes up, or put beside it.
        resampling: within a block of its own, by means and nearest neighbours; or by a convolution
            of stride 2, and by trilinear interpolation before a convolution.
        attention: by how much the side is divided where all blocks attend.
        middle_attention: whether the deepest level attends between its two blocks.
        period: longest of the time's sinusoid, over 2 pi.
        groups: of each normalisation.
    """

    inputs: int
    outputs: int
    channels: int
    multiples: tuple[int, ...]
    blocks: int
    skips: Literal["averaged", "beside"]
    resampling: Literal["block", "convolution"]
    attention: frozenset[int] = frozenset()
    middle_attention: bool = False
    period: float = 10_000
    groups: int = 32


class UNet(nn.Module):
    """x (B, inputs, D, H, W) and steps t (B,) to an answer (B, outputs, D, H, W)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        first, self.width = shape.channels, 4 * shape.channels
        self.time_embed = nn.Sequential(
            nn.Linear(first, self.width), nn.SiLU(), nn.Linear(self.width, self.width)
        )
        self.input_blocks = nn.ModuleList([Steps([_conv(shape.inputs, first)])])
        kept = self._way_down()
        deepest = kept[-1]
        attention = [Attention(deepest, shape.groups)] if shape.middle_attention else []
        self.middle_block = Steps(
            [self._block(deepest, deepest), *attention, self._block(deepest, deepest)]
        )
        self.output_blocks = nn.ModuleList()
        self._way_up(kept)
        self.out = nn.Sequential(_norm(first, shape), nn.SiLU(), _conv(first, shape.outputs))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the answer to x at steps t, which are counted from 0."""
        return self.answer(x, self.embedded(t))

    def embedded(self, t: Tensor) -> Tensor:
        """Return the embedding (B, width) of steps t (B,)."""
        sinusoid = timestep_embedding(t, self.shape.channels, self.shape.period)
        embedded: Tensor = self.time_embed(sinusoid.to(next(self.parameters()).dtype))
        return embedded

    def answer(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return the answer to x, given the embedding of its steps, and what else is added."""
        told = F.silu(embedding)
        kept, h = [], x
        for steps in self.input_blocks:
            h = steps(h, told)
            kept.append(h)
        h = self.middle_block(h, told)
        for steps in self.output_blocks:
            skip = kept.pop()
            averaged = self.shape.skips == "averaged"
            h = steps((h + skip) / 2 if averaged else torch.cat([h, skip], 1), told)
        return self.out(h)

    def _block(self, inputs: int, outputs: int, change: Change = "none") -> Block:
        return Block(inputs, outputs, self.width, self.shape.groups, change)

    def _attends(self, level: int, width: int) -> list[nn.Module]:
        there = 2**level in self.shape.attention
        return [Attention(width, self.shape.groups)] if there else []

    def _way_down(self) -> list[int]:
        """Make the way down; return the channels of each skip."""
        shape = self.shape
        width = shape.channels
        kept = [width]
        for level, multiple in enumerate(shape.multiples):
            for _ in range(shape.blocks):
                block = self._block(width, multiple * shape.channels)
                width = multiple * shape.channels
                self.input_blocks.append(Steps([block, *self._attends(level, width)]))
                kept.append(width)
            if level + 1 < len(shape.multiples):
                own = shape.resampling == "block"
                change = self._block(width, width, "halved") if own else Halved(width)
                self.input_blocks.append(Steps([change]))
                kept.append(width)
        return kept

    def _way_up(self, kept: list[int]) -> None:
        shape, kept = self.shape, list(kept)
        width = kept[-1]
        for level, multiple in reversed(list(enumerate(shape.multiples))):
            for number in range(shape.blocks + 1):
                skip = kept.pop()
                if shape.skips == "averaged":  # its answer meets the next skip
                    inputs, outputs = skip, kept[-1] if kept else shape.channels
                else:
                    inputs, outputs = width + skip, multiple * shape.channels
                parts = [self._block(inputs, outputs), *self._attends(level, outputs)]
                if level and number == shape.blocks:
                    own = shape.resampling == "block"
                    parts.append(
                        self._block(outputs, outputs, "doubled") if own else Doubled(outputs)
                    )
                self.output_blocks.append(Steps(parts))
                width = outputs


Change = Literal["none", "halved", "doubled"]


class Steps(nn.ModuleList):
    """Parts one after another; blocks are told the time."""

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Return what the last part makes of h."""
        for part in self:
            h = part(h, told) if isinstance(part, Block) else part(h)
        return h


class Block(nn.Module):
    """Normalisation, SiLU, convolution, the time; once more; and a shortcut.

    One that changes the resolution does so to both branches, and to the first before its
    convolution.
    """

    def __init__(self, inputs: int, outputs: int, width: int, groups: int, change: Change) -> None:
        super().__init__()
        self.change = change
        self.in_layers = nn.Sequential(
            nn.GroupNorm(groups, inputs), nn.SiLU(), _conv(inputs, outputs)
        )
        self.emb_layers = nn.Sequential(nn.Identity(), nn.Linear(width, outputs))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, outputs), nn.SiLU(), nn.Identity(), _conv(outputs, outputs)
        )
        same = inputs == outputs
        self.skip_connection = nn.Identity() if same else nn.Conv3d(inputs, outputs, kernel_size=1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Return (B, outputs, ...); `told` (B, width) is the time, after its SiLU."""
        norm, silu, conv = self.in_layers
        h = conv(self._changed(silu(norm(x))))
        h = h + self.emb_layers(told)[..., None, None, None]
        return self.skip_connection(self._changed(x)) + self.out_layers(h)

    def _changed(self, x: Tensor) -> Tensor:
        if self.change == "halved":
            return _MEANS(x)
        return F.interpolate(x, scale_factor=2.0) if self.change == "doubled" else x


class Halved(nn.Module):
    """A convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv3d(channels, channels, kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, D/2, H/2, W/2)."""
        return self.op(x)


class Doubled(nn.Module):
    """Trilinear interpolation, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, 2D, 2H, 2W)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="trilinear"))


class Attention(nn.Module):
    """One-head self-attention over all voxels, plus its input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, kernel_size=1)
        self.proj_out = nn.Conv1d(channels, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + attention(x), (B, C, D, H, W)."""
        q, k, v = (part.mT for part in self.qkv(self.norm(x).flatten(2)).chunk(3, dim=1))
        attended = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(attended.mT).reshape(x.shape)


def timestep_embedding(t: Tensor, width: int, period: float) -> Tensor:
    """Return cosines, then sines, of steps t (B,) at falling frequencies, float32 (B, width)."""
    half = width // 2
    falling = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-math.log(period) * falling)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _conv(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, kernel_size=3, padding=1)


def _norm(channels: int, shape: Shape) -> nn.GroupNorm:
    return nn.GroupNorm(shape.groups, channels)
