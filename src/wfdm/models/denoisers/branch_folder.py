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
from wfdm.models.denoisers.control import ControlNet
from wfdm.models.denoisers.controlled import new_branch
from wfdm.models.weights import load_weights
from wfdm.provenance.digests import sha256_of


@dataclass(frozen=True)
class Branch:
    """What config.json says about a branch.

    Attributes:
        name: of the completion.
        condition_channels: of its architecture.
        modalities: that it was trained to make.
        volume: how the scans that it is told become tensors.
        denoiser: folder of the denoiser that it controls.
        denoiser_sha256: of that one's model.safetensors.
    """

    name: str
    condition_channels: int
    modalities: Sequence[str]
    volume: VolumeSettings
    denoiser: Path
    denoiser_sha256: str


def config_text(branch: Branch, folder: Path) -> str:
    """Return the text of config.json in `folder`; the denoiser's path is relative to it."""
    content = {
        "kind": "completion",
        "name": branch.name,
        "condition_channels": branch.condition_channels,
        "modalities": list(branch.modalities),
        "volume": branch.volume.model_dump(mode="json"),
        "denoiser": os.path.relpath(branch.denoiser, folder),
        "denoiser_sha256": branch.denoiser_sha256,
    }
    return json.dumps(content, indent=1) + "\n"


def read(folder: Path) -> Branch:
    """Return what config.json of a folder says.

    Raises:
        UserError: the folder holds no branch, or its denoiser is missing or is another one.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("kind") != "completion":
            raise ValueError("its kind is not 'completion'")
        branch = TypeAdapter(Branch).validate_python(
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
    weights = branch.denoiser / "model.safetensors"
    if not weights.is_file() or sha256_of(weights) != branch.denoiser_sha256:
        raise UserError(
            f"{weights}: is missing or is not the denoiser that {folder} was trained on: put it "
            "back, or train the completion again"
        )
    return branch


def load(folder: Path, branch: Branch, network: UNetSettings, channels: int) -> ControlNet:
    """Load a branch (EMA weights) in eval mode, frozen.

    Args:
        folder: that it lies in.
        branch: as `read` returns.
        network: settings of its denoiser's network.
        channels: C of the latents.

    Raises:
        UserError: its weights are missing, damaged, or of another model.
    """
    made = new_branch(network, channels, branch.condition_channels)
    load_weights(made, folder / "model.safetensors")
    return made.eval().requires_grad_(False)
