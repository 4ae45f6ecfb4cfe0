"""The compressor that latents belong to."""

from pathlib import Path

from wfdm.errors import UserError
from wfdm.latents.space import LatentSpace
from wfdm.models.compressors.base import Compressor
from wfdm.models.compressors.registry import load
from wfdm.provenance.digests import sha256_of


def load_compressor(space: LatentSpace) -> Compressor:
    """Load the compressor of a space. Raises UserError if it is not the one of its latents."""
    weights = Path(space.compressor) / "model.safetensors"
    if not weights.exists() or sha256_of(weights) != space.compressor_sha256:
        raise UserError(
            f"{weights}: is missing or is not the compressor that made the latents: "
            "put it back, or encode and train the denoiser again"
        )
    return load(space.compressor)
