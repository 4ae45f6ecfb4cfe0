"""A denoiser and a decoder, run as fast as the settings allow and the machine proves right.

Frozen weights are turned to bfloat16 once; under autocast each step would turn all of them again,
for torch keeps only what has a gradient. Times and conditions are embedded in float32 always.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wfdm.models.denoisers.unet import CONDITIONING

if TYPE_CHECKING:
    from wfdm.config.generators import InferenceSettings
    from wfdm.models.compressors.base import Compressor
    from wfdm.models.denoisers.network import Network

Function = Callable[..., Tensor]
GRAPH_WARM_UPS = 3  # torch's own number: libraries choose their kernels in these


@dataclass(frozen=True)
class Engine:
    """What sampling needs of a denoiser and its compressor, float32 in and out.

    Attributes:
        answer: latents (B, C, d, h, w) and embeddings (B, width) -> the network's answer.
        decode: unscaled latents (B, C, d, h, w) -> volumes.
    """

    answer: Function
    decode: Function


def exact(denoiser: Network, compressor: Compressor) -> Engine:
    """Return both in float32 as they are, with no rounding to TF32."""
    plain = ("float32", torch.contiguous_format)
    return Engine(_Fast(denoiser.answer, *plain), _Fast(compressor.decode, *plain))


def engine(denoiser: Network, compressor: Compressor, settings: InferenceSettings) -> Engine:
    """Return both as the settings ask; the models that are given stay as they are."""
    layout = torch.channels_last_3d if settings.channels_last else torch.contiguous_format
    dtype = torch.bfloat16 if settings.arithmetic == "bf16" else torch.float32
    if settings.channels_last or settings.arithmetic == "bf16":
        denoiser, compressor = copy.deepcopy(denoiser), copy.deepcopy(compressor)
        bodies = [part for name, part in denoiser.named_children() if name not in CONDITIONING]
        for part in (*bodies, compressor):
            part.to(dtype=dtype)
            part.to(memory_format=layout)  # type: ignore[call-overload]  # it is in torch's docs
    how = (settings.arithmetic, layout, settings.compile)
    answer = _Fast(denoiser.answer, *how, graphs=settings.graphs)
    return Engine(answer, _Fast(compressor.decode, *how))


class _Fast:
    """A function of tensors, of which it changes type and layout on the way in and out.

    Args:
        function: without gradients.
        arithmetic: "float32", "tf32" or "bf16".
        layout: of tensors with three spatial axes.
        compiled: by torch.compile, for each shape anew.
        graphs: on a GPU, record the kernels of each shape once and launch them together.
    """

    def __init__(
        self,
        function: Function,
        arithmetic: str,
        layout: torch.memory_format,
        compiled: bool = False,
        graphs: bool = False,
    ) -> None:
        self.function = torch.compile(function, dynamic=False) if compiled else function
        self.dtype = torch.bfloat16 if arithmetic == "bf16" else torch.float32
        self.tf32, self.layout = arithmetic != "float32", layout
        self.recorded: dict[tuple[torch.Size, ...], _Graph] | None = {} if graphs else None

    @torch.no_grad()
    def __call__(self, *given: Tensor) -> Tensor:
        tensors = [self._prepared(each) for each in given]
        with rounding(self.tf32):
            if self.recorded is None or tensors[0].device.type != "cuda":
                return self.function(*tensors).float()
            shapes = tuple(each.shape for each in tensors)
            if shapes not in self.recorded:
                self.recorded[shapes] = _Graph(self.function, tensors)
            return self.recorded[shapes](tensors).float()

    def _prepared(self, given: Tensor) -> Tensor:
        if given.dim() != 5:
            return given.to(self.dtype)
        return given.to(self.dtype, memory_format=self.layout)


class _Graph:
    """The kernels of one call, recorded on a GPU: launched together, at once, again and again.

    At batch 1 a step's many small kernels take less time than the CPU needs to launch them.
    """

    def __init__(self, function: Function, given: list[Tensor]) -> None:
        self.inputs = [each.clone() for each in given]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(GRAPH_WARM_UPS):
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.output = function(*self.inputs)

    def __call__(self, given: list[Tensor]) -> Tensor:
        for place, each in zip(self.inputs, given, strict=True):
            place.copy_(each)
        self.graph.replay()
        return self.output.clone()  # the next call writes over it


@contextmanager
def rounding(tf32: bool) -> Iterator[None]:
    """Let a GPU round products and convolutions of float32 to TF32, or not, for a while."""
    kinds: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [kind.allow_tf32 for kind in kinds]
    for kind in kinds:
        kind.allow_tf32 = tf32
    try:
        yield
    finally:
        for kind, was in zip(kinds, before, strict=True):
            kind.allow_tf32 = was
