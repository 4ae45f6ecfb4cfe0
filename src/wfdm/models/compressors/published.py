"""Published weights of a compressor, from the file that its authors give."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from wfdm.config.compressors import Architecture
from wfdm.errors import UserError
from wfdm.models.compressors.base import Compressor
from wfdm.models.compressors.registry import build
from wfdm.models.weights import read_state

CONTAINERS = ("state_dict", "unet_state_dict", "autoencoder", "network")
"""Names under which the reference projects keep the network's weights in their files."""


def load_pretrained(architecture: Architecture, file: Path) -> Compressor:
    """Return a compressor with the weights of `file`, in eval mode, frozen.

    Args:
        architecture: what the file holds; nothing is guessed.
        file: torch or safetensors, the state dict alone or in one of CONTAINERS.

    Raises:
        UserError: the file cannot be read or holds another model.
    """
    module = build(architecture)
    try:
        module.load_published(_unwrapped(read_state(file)))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{file} does not hold the weights of compressor kind '{architecture.kind}': {reason}"
        ) from None
    return module.eval().requires_grad_(False)


def _unwrapped(state: Mapping) -> Mapping[str, Tensor]:
    for name in CONTAINERS:
        if isinstance(state.get(name), Mapping):
            state = state[name]
    return {key.removeprefix("module."): value for key, value in state.items()}
