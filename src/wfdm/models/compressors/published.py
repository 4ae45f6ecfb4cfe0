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
    weights = unwrapped(read_state(file), file)
    told = f"{file} does not hold the weights of compressor kind '{architecture.kind}'"
    try:
        found = module.shown_by(weights)
        if found != architecture:
            raise UserError(f"{file} holds another size of it: {_differing(architecture, found)}")
        module.load_published(weights)
    except KeyError as error:
        raise UserError(f"{told}: it has no {error}") from None
    except RuntimeError as error:
        raise UserError(f"{told}: {' '.join(str(error).split())[:300]}") from None
    return module.eval().requires_grad_(False)


def unwrapped(content: object, file: Path) -> Mapping[str, Tensor]:
    """Return the weights of a file by name, out of its containers and without `module.`.

    Raises:
        UserError: there are none.
    """
    for name in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{file} holds no weights by name, but {type(content).__name__}")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _differing(architecture: Architecture, found: Architecture) -> str:
    """Return, in words, what the file shows where the configuration says something else."""
    told, shown = architecture.model_dump(mode="json"), found.model_dump(mode="json")
    parts = [f"{key}: {shown[key]} (not {told[key]})" for key in told if told[key] != shown[key]]
    return f"if it is the right file, write into its architecture {', '.join(parts)}"
