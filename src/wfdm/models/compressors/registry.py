"""Every compressor by the class that its settings name: build, save, load.

To add one: a subclass of `Compressor` in a module of its own and a configuration entry
`architecture: {kind: custom, implementation: "module:class"}`; see docs/adding-a-model.md.
"""

import inspect
from importlib import import_module
from pathlib import Path

from wfdm.atomic import write_text
from wfdm.config.compressors import Architecture, Custom, read_architecture
from wfdm.errors import UserError
from wfdm.models.compressors.base import Compressor
from wfdm.models.weights import load_weights, save_weights


def build(architecture: Architecture) -> Compressor:
    """Return a compressor with fresh weights, drawn from torch's global generator.

    Raises:
        UserError: a class of one's own cannot be imported, is none, or has other options.
    """
    told = f"compressor implementation '{architecture.implementation}'"
    module, _, name = architecture.implementation.partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{told} cannot be imported: {error}") from None
    if not (inspect.isclass(kind) and issubclass(kind, Compressor)):
        raise UserError(f"{told} is no subclass of wfdm.models.Compressor")
    options = architecture.options if isinstance(architecture, Custom) else {}
    try:
        inspect.signature(kind).bind(architecture, **options)
    except TypeError as error:
        raise UserError(f"{told} does not take these options: {error}") from None
    return kind(architecture, **options)


def config_text(architecture: Architecture) -> str:
    """Return the text of config.json, from which `load` builds the compressor again."""
    return architecture.model_dump_json(indent=2) + "\n"


def save(folder: Path, module: Compressor) -> None:
    """Write model.safetensors and config.json of a compressor into `folder`."""
    save_weights(folder / "model.safetensors", module.state_dict())
    write_text(folder / "config.json", config_text(module.settings))


def load(folder: Path | str) -> Compressor:
    """Return the compressor kept in `folder`, on the CPU, in eval mode, frozen.

    Raises:
        UserError: config.json or model.safetensors is missing, damaged, or they do not agree.
    """
    folder = Path(folder)
    module = build(read_architecture(folder))
    load_weights(module, folder / "model.safetensors")
    return module.eval().requires_grad_(False)
