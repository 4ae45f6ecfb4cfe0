"""Every compressor by the kind its settings name: build, save, load.

To add one: a subclass of `Compressor`, a settings class in `config.compressors`, a line here.
"""

from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from wfdm.atomic import write_text
from wfdm.config.compressors import Architecture
from wfdm.errors import UserError
from wfdm.models.compressor import Compressor
from wfdm.models.haar import HaarCompressor
from wfdm.models.wavelet_fusion import WaveletFusionVAE
from wfdm.models.weights import load_weights, save_weights

KINDS: dict[str, Callable[..., Compressor]] = {
    "wavelet-fusion": WaveletFusionVAE,
    "haar": HaarCompressor,
}


def build(architecture: Architecture) -> Compressor:
    """Return a compressor with fresh weights, drawn from torch's global generator."""
    return KINDS[architecture.kind](architecture)


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
    config = folder / "config.json"
    try:
        architecture = TypeAdapter(Architecture).validate_json(config.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{config} is missing; train the compressor first") from None
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise UserError(f"{config} does not describe a compressor: {problem}") from None
    module = build(architecture)
    load_weights(module, folder / "model.safetensors")
    return module.eval().requires_grad_(False)
