"""Weights on disk: safetensors, written whole, read strictly; other people's files without code."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wfdm.atomic import atomic_path
from wfdm.errors import UserError

ZIP = b"PK\x03\x04"  # torch's format since 1.6
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the format before: its magic number


def save_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a state dict to `path` atomically."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary)


def read_state(path: Path) -> Mapping:
    """Return what a safetensors or torch file holds; nothing in it is executed.

    Raises:
        UserError: the file is missing, damaged, or neither of the two.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with open(path, "rb") as stream:
            if not stream.read(len(OLD_TORCH)).startswith((ZIP, OLD_TORCH)):
                raise UserError(f"{path} is neither a torch nor a safetensors file")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, UnpicklingError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"{path} cannot be read as weights: {reason}") from None
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(inner, Mapping) or not all(isinstance(name, str) for name in inner):
        raise UserError(f"{path} holds no weights by name, but a {type(inner).__name__}")
    return content


def load_weights(module: nn.Module, path: Path) -> None:
    """Load `path` into `module`, name for name.

    Raises:
        UserError: the file is missing, damaged, or of another model.
    """
    try:
        module.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the model first") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); remove it and train again") from None
    except RuntimeError:
        raise UserError(f"{path} does not hold the model that its config.json describes") from None
