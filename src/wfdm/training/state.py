"""The resumable state of a training: one safetensors file, replaced whole, without pickle."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from wfdm.atomic import atomic_path

Weights = dict[str, Tensor]


@dataclass
class Progress:
    """How far a training has come.

    `step` counts finished updates. `best` holds the judged module's weights (on the CPU) at the
    lowest validation loss so far, `history` one row per validation. `precision` is the loss
    scaler's state under 16-bit mixed precision, empty otherwise.
    """

    step: int = 0
    best_loss: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)
    precision: dict[str, Any] = field(default_factory=dict)
    best: Weights = field(default_factory=dict)


def copy_weights(module: nn.Module) -> Weights:
    """Return a copy of the module's parameters and buffers on the CPU."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in module.state_dict().items()
    }


def save(
    path: Path,
    identity: str,
    progress: Progress,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
) -> None:
    """Write everything that the next step depends on to `path`, atomically."""
    tensors: Weights = {f"best/{key}": value for key, value in progress.best.items()}
    for name, module in modules.items():
        tensors |= {f"module/{name}/{key}": value for key, value in copy_weights(module).items()}
    for name, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                moment = torch.as_tensor(value).detach().to("cpu", copy=True).contiguous()
                tensors[f"optimizer/{name}/{index}/{key}"] = moment
    told = {key: value for key, value in asdict(progress).items() if key != "best"}
    # One entry only: safetensors writes several in no fixed order, and equal states should be
    # equal files.
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps([identity, told])})


def restore(
    path: Path,
    identity: str,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
) -> Progress | None:
    """Load modules and optimizers from `path`; None, and nothing touched, where it does not fit.

    It fits when it can be read and was written under the same `identity`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            kept_identity, told = json.loads(file.metadata()["state"])
            if kept_identity != identity:
                return None
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    for name, module in modules.items():
        module.load_state_dict(_under(f"module/{name}/", tensors))
    for name, optimizer in optimizers.items():
        moments: dict[int, Weights] = {}
        for key, value in _under(f"optimizer/{name}/", tensors).items():
            index, moment = key.split("/")
            moments.setdefault(int(index), {})[moment] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return Progress(**told, best=_under("best/", tensors))


def _under(prefix: str, tensors: Weights) -> Weights:
    return {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
