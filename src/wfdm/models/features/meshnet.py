"""MeshNet: a small network of dilated convolutions that segments a brain's T1w at 1 mm.

Fedorov et al. 2017 (arXiv 1612.00940), as brainchop publishes it: a TensorFlow.js model, its
topology in a JSON file and its weights as little-endian float32 in a second one, kernel (x, y, z,
in, out) then bias for each convolution.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfdm.errors import UserError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"elu": F.elu, "relu": F.relu}


@dataclass(frozen=True)
class Layer:
    """A convolution as the topology tells it."""

    name: str
    filters: int
    size: int
    dilation: int
    activation: str | None
    """after it; None after the last one"""


class MeshNet(nn.Module):
    """Convolutions with one activation between them, frozen; as many classes as the last has."""

    def __init__(self, layers: list[Layer], weights: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Take the layers and of each its kernel (x, y, z, in, out) and its bias (out,)."""
        super().__init__()
        self.layers = layers
        self.convolutions = nn.ModuleList()
        for layer, (kernel, bias) in zip(layers, weights, strict=True):
            into = kernel.shape[3]
            conv = nn.Conv3d(into, layer.filters, layer.size, dilation=layer.dilation, bias=True)
            conv.weight.data = torch.from_numpy(
                np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2))
            )
            conv.bias = nn.Parameter(torch.from_numpy(bias.copy()))
            self.convolutions.append(conv)
        self.eval().requires_grad_(False)

    @property
    def reach(self) -> int:
        """Voxels, along an axis, from which a voxel's answer is told."""
        return sum(layer.dilation * (layer.size // 2) for layer in self.layers)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of each class, (1, classes, *shape), of a volume (1, 1, *shape).

        Around the volume lies background without end, which is 0 at the input and in each later
        layer what the network makes of that, c' = f(W c + b) with W summed over the kernel. So a
        volume may be cropped to the brain: only what the brain does beyond the crop is lost. Zeros
        in every layer, as at the edge of the network's own field, would reach into the brain.
        """
        background = x.new_zeros(1)
        h = x.contiguous(memory_format=torch.channels_last_3d)  # twice as fast on a CPU
        for layer, conv in zip(self.layers, self.convolutions, strict=True):
            assert isinstance(conv, nn.Conv3d) and conv.bias is not None
            beyond = conv.weight.sum(dim=(2, 3, 4)) @ background + conv.bias
            inside = h - _column(background)
            pad = layer.dilation * (layer.size // 2)
            weight = conv.weight.contiguous(memory_format=torch.channels_last_3d)
            h = F.conv3d(inside, weight, beyond, padding=pad, dilation=layer.dilation)
            background = beyond
            if layer.activation:
                h = ACTIVATIONS[layer.activation](h)
                background = ACTIVATIONS[layer.activation](beyond)
        return h


def _column(values: Tensor) -> Tensor:
    return values[None, :, None, None, None]


def load(topology: Path, weights: Path) -> MeshNet:
    """Read a network from its two files.

    Raises:
        UserError: a file is not of a MeshNet, or the two do not belong together.
    """
    try:
        model = json.loads(topology.read_text(encoding="utf-8"))
        layers = _layers(model["modelTopology"]["model_config"]["config"]["layers"])
        listed = model["weightsManifest"][0]["weights"]
        shapes = {entry["name"]: tuple(entry["shape"]) for entry in listed}
        flat = np.frombuffer(weights.read_bytes(), "<f4").astype(np.float32)
        parts = np.split(flat, np.cumsum([int(np.prod(shape)) for shape in shapes.values()]))
        if len(parts[-1]) or any(
            part.size != int(np.prod(shape))
            for part, shape in zip(parts, shapes.values(), strict=False)
        ):
            raise ValueError(f"{len(flat)} numbers are not those that the topology lists")
        arrays = {
            name: part.reshape(shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=False)
        }
        pairs = [(arrays[f"{each.name}/kernel"], arrays[f"{each.name}/bias"]) for each in layers]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{topology} and {weights} are not the two files of a MeshNet ({reason}); fetch both "
            "again"
        ) from None
    return MeshNet(layers, pairs)


def _layers(listed: list[Mapping[str, Any]]) -> list[Layer]:
    """Return the convolutions of a topology, in their order."""
    found: list[Layer] = []
    for entry in listed:
        config = entry["config"]
        if entry["class_name"] == "Conv3D":
            (size,), (dilation,) = set(config["kernel_size"]), set(config["dilation_rate"])
            if config["padding"] != "same":
                raise ValueError(f"{config['name']} does not keep the size of its input")
            found.append(Layer(config["name"], config["filters"], size, dilation, None))
        elif entry["class_name"] == "Activation":
            if config["activation"] not in ACTIVATIONS:
                raise ValueError(f"activation {config['activation']}")
            last = found.pop()
            found.append(
                Layer(last.name, last.filters, last.size, last.dilation, config["activation"])
            )
        elif entry["class_name"] != "InputLayer":
            raise ValueError(f"a layer of kind {entry['class_name']}")
    if not found:
        raise ValueError("no convolution")
    return found
