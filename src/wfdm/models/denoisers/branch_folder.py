"""A trained control branch on disk: its weights, and which denoiser it belongs to."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from wfdm.config.denoisers import UNetSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.errors import UserError
from wfdm.models.denoisers.branch import Branch
from wfdm.models.weights import load_weights
from wfdm.provenance.digests import sha256_of


@dataclass(frozen=True)
class About:
    """What config.json says about a branch.

    Attributes:
        name: of the completion.
        condition_channels: of its architecture.
        direct_channels: of its architecture.
        modalities: that it was trained to make.
        volume: how the scans that it is told become tensors.
        denoiser: folder of the denoiser that it controls.
        denoiser_sha256: of that one's model.safetensors.
    """

    name: str
    condition_channels: int
    direct_channels: int
    modalities: Sequence[str]
    volume: VolumeSettings
    denoiser: Path
    denoiser_sha256: str


def config_text(about: About, folder: Path) -> str:
    """Return the text of config.json in `folder`; the denoiser's path is relative to it."""
    content = {
        "kind": "completion",
        "name": about.name,
        "condition_channels": about.condition_channels,
        "direct_channels": about.direct_channels,
        "modalities": list(about.modalities),
        "volume": about.volume.model_dump(mode="json"),
        "denoiser": os.path.relpath(about.denoiser, folder),
        "denoiser_sha256": about.denoiser_sha256,
    }
    return json.dumps(content, indent=1) + "\n"


def read(folder: Path) -> About:
    """Return what config.json of a folder says.

    Raises:
        UserError: the folder holds no branch, or its denoiser is missing or is another one.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("kind") != "completion":
            raise ValueError("its kind is not 'completion'")
        about = TypeAdapter(About).validate_python(
            content | {"denoiser": os.path.normpath(folder / content["denoiser"])}
        )
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing; train the completion, or name another folder"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UserError(f"{path} does not describe a completion: {told}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not describe a completion: {reason}") from None
    weights = about.denoiser / "model.safetensors"
    if not weights.is_file() or sha256_of(weights) != about.denoiser_sha256:
        raise UserError(
            f"{weights}: is missing or is not the denoiser that {folder} was trained on: put it "
            "back, or train the completion again"
        )
    return about


def load(folder: Path, about: About, network: UNetSettings, channels: int) -> Branch:
    """Load a branch (EMA weights) in eval mode, frozen.

    Args:
        folder: that it lies in.
        about: as `read` returns.
        network: settings of its denoiser's network.
        channels: C of the latents.

    Raises:
        UserError: its weights are missing, damaged, or of another model.
    """
    made = Branch(network, channels, about.condition_channels, about.direct_channels)
    load_weights(made, folder / "model.safetensors")
    return made.eval().requires_grad_(False)
