"""Weights of the authors' WaveletFusionAutoencoder (BrainMint 0.1.0) under our names, and back."""

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wfdm.config.compressors import WaveletFusion
from wfdm.errors import UserError
from wfdm.models.compressors.wavelet_fusion import WaveletFusionVAE
from wfdm.models.haar import ENTRY
from wfdm.models.weights import read_state

PROJECT = "encoder.wavelet_transform.stage1_conv_out.conv.weight"
FILTER = "encoder.wavelet_transform.stage1.h_conv.weight"
# The Haar filters are part of their state: (name, sign of the second sample along each axis).
FILTERS = dict(zip("h g hh gh h_v g_v hh_v gh_v".split(), product((1, -1), repeat=3), strict=True))

# Our names to theirs, part by part; the numbers of blocks are put in by `_names`.
RENAMES = (
    (r"^encoder\.project(\d)\.", r"encoder.wavelet_transform.stage\1_conv_out.conv."),
    (r"^encoder\.shallow\.", r"encoder.stages.0."),
    (r"^encoder\.down\.", r"encoder.stages.0.2.conv.conv."),
    (r"^encoder\.deep\.", r"encoder.stages.1."),
    (r"^decoder\.conv_in\.", r"decoder.stages.0.0.conv."),
    (r"^decoder\.up\.", r"decoder.stages.1.0.postconv.conv."),
    (r"^decoder\.norm_out\.", r"decoder.stages.1.3."),
    (r"^decoder\.predict(\d)\.", r"decoder.inv_wavelet_transform.stage\1_conv_in.conv."),
    (r"^to_mean\.", r"quant_conv_mu.conv."),
    (r"^to_log_variance\.", r"quant_conv_log_sigma.conv."),
    (r"^from_latent\.", r"post_quant_conv.conv."),
    (r"\.(conv[12])\.", r".\1.conv."),  # MONAI wraps every convolution
    (r"\.shortcut\.", r".nin_shortcut.conv."),
    (r"\.(to_[qkv])\.", r".attn.\1."),
    (r"\.out\.", r".attn.out_proj."),
)


def import_brainmint(
    source: Path | str | Mapping[str, Tensor], norm_groups: int = 32
) -> WaveletFusionVAE:
    """Return WF-VAE or WF-SA-VAE with the authors' weights, in eval mode, frozen.

    Sizes, attention and the filters' rounding are found from the weights.

    Args:
        source: a state dict, or a file that holds one (torch or safetensors; alone or under
            "state_dict"; a common prefix of the names is dropped).
        norm_groups: of the group normalisations, the one size that weights do not show.

    Raises:
        UserError: the file cannot be read or holds another model.
    """
    told = "the state dict" if isinstance(source, Mapping) else str(source)
    read: Mapping[str, Any] = source if isinstance(source, Mapping) else read_state(Path(source))
    weights = read.get("state_dict", read)
    prefixes = [key[: -len(PROJECT)] for key in weights if key.endswith(PROJECT)]
    if len(prefixes) != 1:
        raise UserError(f"{told} holds no BrainMint WaveletFusionAutoencoder (no '{PROJECT}')")
    start = len(prefixes[0])
    theirs = {key[start:]: value for key, value in weights.items() if key.startswith(prefixes[0])}
    try:
        module = WaveletFusionVAE(_settings(theirs, norm_groups))
        names = _names(module)
        if theirs.keys() - _filters(module).keys() != set(names.values()):
            raise KeyError
        module.load_state_dict({ours: theirs[their] for ours, their in names.items()})
    except (KeyError, RuntimeError):
        raise UserError(
            f"{told} is not a two-level BrainMint WaveletFusionAutoencoder with two blocks a level"
        ) from None
    return module.eval().requires_grad_(False)


def load_pretrained(architecture: WaveletFusion, file: Path) -> WaveletFusionVAE:
    """Return the compressor of a BrainMint checkpoint, in eval mode, frozen.

    Raises:
        UserError: the file cannot be read or holds another model than the settings name.
    """
    module = import_brainmint(file, architecture.norm_groups)
    if module.settings != architecture:
        raise UserError(f"{file} holds {module.settings}, the configuration {architecture}")
    return module


def export_brainmint(module: WaveletFusionVAE) -> dict[str, Tensor]:
    """Return the state dict that BrainMint's WaveletFusionAutoencoder of the same sizes loads.

    It holds the Haar filters too, with the entries of this module: a module with exact filters
    gives theirs exact ones.
    """
    state = module.state_dict()
    weights = {their: state[ours].detach().cpu() for ours, their in _names(module).items()}
    return _filters(module) | weights


def _settings(theirs: Mapping[str, Tensor], norm_groups: int) -> WaveletFusion:
    rounded = torch.allclose(theirs[FILTER].abs(), torch.tensor(0.3536), rtol=0, atol=1e-6)
    return WaveletFusion(
        kind="wavelet-fusion",
        channels=(
            len(theirs["encoder.stages.0.0.conv1.conv.weight"]),
            len(theirs["encoder.stages.1.0.conv1.conv.weight"]),
        ),
        wavelet_channels=len(theirs[PROJECT]),
        latent_channels=len(theirs["quant_conv_mu.conv.weight"]),
        attention=any(".attn." in key for key in theirs),
        norm_groups=norm_groups,
        haar="rounded" if rounded else "exact",
    )


def _names(module: WaveletFusionVAE) -> dict[str, str]:
    """Return their name of each of our weights."""
    blocks = len(module.encoder.deep)
    renames = (
        (r"^encoder\.norm_out\.", rf"encoder.stages.1.{blocks}."),
        (r"^encoder\.conv_out\.", rf"encoder.stages.1.{blocks + 1}.conv."),
        *RENAMES,
    )
    return {key: _renamed(key, renames) for key in module.state_dict()}


def _renamed(key: str, renames: tuple[tuple[str, str], ...]) -> str:
    # The first block of their decoder's levels is a convolution, which has its own name here.
    place = re.match(r"decoder\.(deep|shallow)\.(\d+)\.", key)
    if place:
        level = ("deep", "shallow").index(place[1])
        key = f"decoder.stages.{level}.{int(place[2]) + 1}.{key[place.end() :]}"
    for ours, theirs in renames:
        key = re.sub(ours, theirs, key)
    return key


def _filters(module: WaveletFusionVAE) -> dict[str, Tensor]:
    """Return the Haar filters under their names, (1, 1, 2, 2, 2) each."""
    found: dict[str, Tensor] = {}
    for name, signs in FILTERS.items():
        one, two, three = (torch.tensor([1.0, sign]) for sign in signs)
        entries = torch.einsum("i,j,k->ijk", one, two, three) * ENTRY[module.encoder.haar]
        for stage in ("stage1", "stage2"):
            forward = f"encoder.wavelet_transform.{stage}.{name}_conv.weight"
            inverse = f"decoder.inv_wavelet_transform.{stage}_inverse.{name}"
            found |= {forward: entries[None, None].clone(), inverse: entries[None, None].clone()}
    return found
