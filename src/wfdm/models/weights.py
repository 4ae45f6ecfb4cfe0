"""Weights on disk: safetensors, written whole, read strictly."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wfdm.atomic import atomic_path
from wfdm.errors import UserError


def save_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a state dict to `path` atomically."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary)


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
        raise UserError(f"{path} does not hold the model that its config.json tells") from None
