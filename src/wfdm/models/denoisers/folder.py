"""A trained denoiser on disk: its weights, and all that sampling needs to know beside them."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wfdm.config.denoisers import NetworkSettings, ProcessSettings
from wfdm.data.metadata import Schema, Statistics, load_schema
from wfdm.errors import UserError
from wfdm.models.denoisers.network import Network
from wfdm.models.weights import load_weights


def build(network: NetworkSettings, latent_shape: tuple[int, int, int, int]) -> Network:
    """Return a denoiser of latents (C, d, h, w), weights drawn from torch's global generator."""
    module, _, name = network.implementation.partition(":")
    made: Network = getattr(import_module(module), name)(network, latent_shape, load_schema())
    return made


def config_text(
    name: str,
    network: NetworkSettings,
    process: ProcessSettings,
    conditioning_dropout: float,
    modalities: Sequence[str],
    age_group_from_age: bool,
    statistics: Statistics,
    latent_space: dict[str, Any],
    teacher: Mapping[str, str] | None = None,
) -> str:
    """Return the text of config.json.

    Args:
        name: of the denoiser; it is part of the seeds of its samples.
        network: its architecture.
        process: what it was trained for.
        conditioning_dropout: with which it was trained.
        modalities: those that it was trained on, and so can make.
        age_group_from_age: whether its scans had their age group from their age.
        statistics: mean and standard deviation of each numeric metadata field.
        latent_space: scale, shape and compressor of its latents, as JSON.
        teacher: of a distilled one its teacher's name, which its noise is drawn by, and the sha256
            of its weights.
    """
    content = {
        "kind": "denoiser",
        "name": name,
        "network": network.model_dump(mode="json"),
        "process": process.model_dump(mode="json"),
        "conditioning_dropout": conditioning_dropout,
        "modalities": list(modalities),
        "age_group_from_age": age_group_from_age,
        "latent_space": latent_space,
        "metadata_fields": fields_of(load_schema()),
        "statistics": {key: list(pair) for key, pair in statistics.items()},
        **({"teacher": dict(teacher)} if teacher else {}),
    }
    return json.dumps(content, indent=1) + "\n"


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json of a trained denoiser; `network` and `process` as settings.

    `noise` is the name that its samples' noise is drawn by.

    Raises:
        UserError: the folder holds none, or one of another metadata schema.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        fields = config["metadata_fields"]
        config["network"] = TypeAdapter(NetworkSettings).validate_python(config["network"])
        config["process"] = TypeAdapter(ProcessSettings).validate_python(config["process"])
        config["conditioning_dropout"] = float(config["conditioning_dropout"])
        config["age_group_from_age"] = bool(config["age_group_from_age"])
        config["modalities"] = tuple(config["modalities"])
        config["noise"] = config.get("teacher", config)["name"]
        config["statistics"] = {name: tuple(pair) for name, pair in config["statistics"].items()}
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the denoiser, or name another folder") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not describe a trained denoiser: {reason}") from None
    if fields != fields_of(load_schema()):
        raise UserError(f"{path}: was trained with another config/metadata.yaml; put that back")
    return config


def load(folder: Path) -> tuple[Network, dict[str, Any]]:
    """Load a trained denoiser (EMA weights) in eval mode, frozen, and its `read_config`.

    Raises:
        UserError: the folder holds none, or one of another metadata schema.
    """
    config = read_config(folder)
    denoiser = build(config["network"], tuple(config["latent_space"]["shape"]))
    load_weights(denoiser, folder / "model.safetensors")
    return denoiser.eval().requires_grad_(False), config


def fields_of(schema: Schema) -> list[list[Any]]:
    """Return what of the schema the weights depend on, as JSON: name, kind, values, width."""
    return [[f.name, f.kind, list(f.values), f.embedding] for f in schema.fields]
