"""Weights of the authors' WaveletFusionAutoencoder (BrainMint 0.1.0), under our names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wfdm.config.compressors import WaveletFusion
from wfdm.errors import UserError
from wfdm.models.wavelet_fusion import WaveletFusionVAE
from wfdm.models.weights import read_state

PROJECT = "encoder.wavelet_transform.stage1_conv_out.conv.weight"
FILTER = "encoder.wavelet_transform.stage1.h_conv.weight"
FIXED = re.compile(r"wavelet_transform\.stage\d(_inverse)?\.")  # the Haar filters themselves


def import_brainmint(
    source: Path | str | Mapping[str, Tensor], norm_groups: int = 32
) -> WaveletFusionVAE:
    """Return WF-VAE or WF-SA-VAE with the authors' weights, in eval mode, frozen.

    Sizes, attention and the filters' rounding are read off the weights.

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
        settings = _settings(theirs, norm_groups)
        module = WaveletFusionVAE(settings)
        blocks = len(module.encoder.deep)
        module.load_state_dict(
            {_rename(key, blocks): value for key, value in theirs.items() if not FIXED.search(key)}
        )
    except (KeyError, RuntimeError):
        raise UserError(
            f"{told} is not a two-level BrainMint WaveletFusionAutoencoder with two blocks a level"
        ) from None
    return module.eval().requires_grad_(False)


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


def _rename(key: str, blocks: int) -> str:
    """Return our name of their weight; `blocks` counts the encoder's blocks at the deep level."""
    renames = (
        (r"^encoder\.wavelet_transform\.stage(\d)_conv_out\.", r"encoder.project\1."),
        (r"^encoder\.stages\.0\.([01])\.", r"encoder.shallow.\1."),
        (r"^encoder\.stages\.0\.2\.", r"encoder.down."),
        (rf"^encoder\.stages\.1\.{blocks}\.", r"encoder.norm_out."),
        (rf"^encoder\.stages\.1\.{blocks + 1}\.", r"encoder.conv_out."),
        (r"^encoder\.stages\.1\.", r"encoder.deep."),
        (r"^decoder\.inv_wavelet_transform\.stage(\d)_conv_in\.", r"decoder.predict\1."),
        (r"^decoder\.stages\.0\.0\.", r"decoder.conv_in."),
        (r"^decoder\.stages\.1\.0\.postconv\.", r"decoder.up."),
        (r"^decoder\.stages\.1\.3\.", r"decoder.norm_out."),
        (r"^quant_conv_mu\.", r"to_mean."),
        (r"^quant_conv_log_sigma\.", r"to_log_variance."),
        (r"^post_quant_conv\.", r"from_latent."),
        (r"\.nin_shortcut\.", r".shortcut."),
        (r"\.attn\.out_proj\.", r".out."),
        (r"\.attn\.", r"."),
        (r"(\.conv)+\.(weight|bias)$", r".\2"),  # MONAI wraps every convolution
    )
    for theirs, ours in renames:
        key = re.sub(theirs, ours, key)
    # The first block of a decoder level is its convolution, which has a name of its own here.
    key = re.sub(r"^decoder\.stages\.0\.(\d)", lambda m: f"decoder.deep.{int(m[1]) - 1}", key)
    return re.sub(r"^decoder\.stages\.1\.(\d)", lambda m: f"decoder.shallow.{int(m[1]) - 1}", key)
