"""The resumable state of a training: one safetensors file, replaced whole, without pickle.

It belongs to one identity (settings, inputs and code). The state of another identity is never
overwritten: it is moved aside, and used again when that identity returns.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from wfdm.atomic import atomic_path
from wfdm.errors import UserError
from wfdm.log import log

FILE = "state.safetensors"
SHOWN = 12  # characters of an identity in names and messages
REACHED = ("step", "best_loss", "history", "precision", "skips")  # of `Progress`, what is no tensor
Weights = dict[str, Tensor]


@dataclass
class Progress:
    """How far a training has come.

    `step` counts finished updates. `best` holds the judged module's weights (on the CPU) at the
    lowest validation loss so far, `history` one row per validation, `sums` of each loss since the
    last of them. `precision` is the loss scaler's state under 16-bit mixed precision, empty
    otherwise. `skips` are the counts of `wfdm.training.skips`.
    """

    step: int = 0
    best_loss: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)
    precision: dict[str, Any] = field(default_factory=dict)
    skips: dict[str, Any] = field(default_factory=dict)
    best: Weights = field(default_factory=dict)
    sums: Weights = field(default_factory=dict)


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
    tensors |= {f"sums/{key}": value.to("cpu") for key, value in progress.sums.items()}
    for name, module in modules.items():
        tensors |= {f"module/{name}/{key}": value for key, value in copy_weights(module).items()}
    for name, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                moment = torch.as_tensor(value).detach().to("cpu", copy=True).contiguous()
                tensors[f"optimizer/{name}/{index}/{key}"] = moment
    reached = {key: getattr(progress, key) for key in REACHED}
    # One entry only: safetensors writes several in no fixed order, and equal states should be
    # equal files.
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps([identity, reached])})


def make_way(path: Path, identity: str) -> None:
    """Make sure that `path` holds the state of `identity`, or does not exist.

    The state of another identity is kept beside it, under a name with that identity. A state of
    `identity` that was kept so before is put back.

    Raises:
        UserError: the state that is there cannot be read.
    """
    if path.exists():
        other = _header(path)[0]
        if other == identity:
            return
        aside = _aside(path, other)
        if aside.exists():
            raise UserError(f"{path} and {aside} are states of one training: remove one of them")
        path.rename(aside)
        log.info(
            f"{path} belongs to other settings, inputs or code ({other[:SHOWN]}, now "
            f"{identity[:SHOWN]}): kept as {aside.name}"
        )
    if (kept := _aside(path, identity)).exists():
        kept.rename(path)
        log.info(f"{path}: {kept.name} belongs to these settings, inputs and code again")


def restore(
    path: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
) -> Progress:
    """Load modules and optimizers from `path`; where it does not exist, start from nothing.

    Raises:
        UserError: the file is damaged, or holds the state of another training.
    """
    if not path.exists():
        return Progress()
    _, reached = _header(path)
    tensors = _tensors(path)
    try:
        for name, module in modules.items():
            module.load_state_dict(_under(f"module/{name}/", tensors))
        for name, optimizer in optimizers.items():
            moments: dict[int, Weights] = {}
            for key, value in _under(f"optimizer/{name}/", tensors).items():
                index, moment = key.split("/")
                moments.setdefault(int(index), {})[moment] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})
        best, sums = _under("best/", tensors), _under("sums/", tensors)
        return Progress(**reached, best=best, sums=sums)
    except (RuntimeError, ValueError, TypeError) as error:
        raise _damaged(path, error) from None


def start_from(file: Path, modules: Mapping[str, nn.Module], exported: str) -> list[str]:
    """Load the weights of another training, and nothing else of it; return what was loaded.

    Args:
        file: a model.safetensors: the weights go into `exported` and into every module with the
            same names and sizes. Or a state.safetensors: each of its modules goes into the one of
            the same name.
        modules: of this training; those that the file does not hold stay as they are.
        exported: name of the module that is judged.

    Raises:
        UserError: the file is missing, damaged, or of another model.
    """
    tensors = _tensors(file)
    if any(key.startswith("module/") for key in tensors):
        found = {name: _under(f"module/{name}/", tensors) for name in modules}
        found = {name: weights for name, weights in found.items() if weights}
    else:
        sizes = {key: value.shape for key, value in tensors.items()}
        same = [name for name, module in modules.items() if _sizes(module) == sizes]
        found = {name: tensors for name in {exported: None, **dict.fromkeys(same)}}
    if exported not in found:
        raise UserError(f"{file} holds no module '{exported}': it is the state of another kind")
    try:
        for name, weights in found.items():
            modules[name].load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{file} holds another model: {_first_line(error)}") from None
    return list(found)


def _aside(path: Path, identity: str) -> Path:
    return path.with_stem(f"{path.stem}-{identity[:SHOWN]}")


def _header(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the identity that a state belongs to, and how far it has come."""
    try:
        with safe_open(path, framework="pt") as file:
            identity, reached = json.loads(file.metadata()["state"])
            return identity, reached
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None


def _tensors(path: Path) -> Weights:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is damaged ({_first_line(error)}): put back a copy of it; where a training was "
        "to continue from it, remove it to train from the beginning"
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _sizes(module: nn.Module) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in module.state_dict().items()}


def _under(prefix: str, tensors: Weights) -> Weights:
    return {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
