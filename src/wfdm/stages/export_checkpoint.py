"""Write a wavelet-fusion compressor as BrainMint's WaveletFusionAutoencoder loads it."""

from pathlib import Path
from typing import Annotated

from wfdm.errors import UserError
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Positional


def run(
    folder: Annotated[Path, Positional("Folder of a WF-VAE or WF-SA-VAE.")],
    out: Annotated[Path, "Torch file to make: a plain state dict."],
) -> None:
    """Write the state dict."""
    import torch

    from wfdm.atomic import atomic_path
    from wfdm.models.compressors.brainmint import export_brainmint
    from wfdm.models.compressors.registry import load
    from wfdm.models.compressors.wavelet_fusion import WaveletFusionVAE

    module = load(folder)
    if not isinstance(module, WaveletFusionVAE):
        raise UserError(f"{folder} holds no wavelet-fusion compressor, so BrainMint has none")
    inputs = [folder / "model.safetensors", folder / "config.json"]
    with recorded("export-checkpoint", out, None, inputs), atomic_path(out) as temporary:
        torch.save(export_brainmint(module), temporary)
