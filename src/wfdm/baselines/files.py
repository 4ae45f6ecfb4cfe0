"""Files of weights that the authors of a system publish."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from wfdm.errors import UserError
from wfdm.models.weights import read_state

Network = TypeVar("Network", bound=nn.Module)


def published_state(
    file: Path, system: str, within: Sequence[str] = (), prefix: str = ""
) -> dict[str, Tensor]:
    """Return the network's weights in a published file, by their own names.

    Args:
        file: torch or safetensors; nothing in it is executed.
        system: for the message.
        within: names of the dictionaries in which the weights lie, outermost first. A file that
            holds them alone, as one brought over by hand may, is taken too.
        prefix: of the weights that belong to the network; others beside them (buffers of a
            schedule) are left out, if any has it. PyTorch's `module.` is dropped everywhere.

    Raises:
        UserError: the file is no file of weights, or holds none there.
    """
    state = read_state(file)
    for name in within:
        if isinstance(state.get(name), Mapping):
            state = state[name]
    tensors = {
        str(key).removeprefix("module."): value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise UserError(f"{file} does not hold the weights of {system}: there are none in it")
    inner = {key: value for key, value in tensors.items() if key.startswith(prefix)}
    return {key.removeprefix(prefix): value for key, value in (inner or tensors).items()}


def filled(
    build: Callable[[], Network], state: Mapping[str, Tensor], file: Path, system: str
) -> Network:
    """Return a network with published weights, name for name, float32, in eval mode, frozen.

    Args:
        build: makes the network; its own weights are never drawn.
        state: as `published_state` returns it.
        file: for the message.
        system: for the message.

    Raises:
        UserError: a weight is missing, left over, or of another size.
    """
    with torch.device("meta"):
        network = build()
    if reason := _misfit(network.state_dict(), state):
        raise UserError(f"{file} does not hold the weights of {system}: {reason}")
    network.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


def _misfit(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    """Return the first reason why a state is not that of a network, else None."""
    if missing := [key for key in wanted if key not in state]:
        return f"'{missing[0]}' is not there ({len(missing)} of {len(wanted)} are missing)"
    if extra := [key for key in state if key not in wanted]:
        return f"'{extra[0]}' is not of it ({len(extra)} are left over)"
    for key, tensor in wanted.items():
        if state[key].shape != tensor.shape:
            return f"'{key}' is {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
    return None
