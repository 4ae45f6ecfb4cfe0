"""Models: compressors behind one protocol, the denoiser, the fixed feature network."""

from wfdm.models.brainmint import import_brainmint
from wfdm.models.compressor import Compressor
from wfdm.models.registry import build, load, save

__all__ = ["Compressor", "build", "import_brainmint", "load", "save"]
