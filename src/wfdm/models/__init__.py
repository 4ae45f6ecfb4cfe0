"""Models: compressors behind one protocol, the denoiser, the fixed feature network."""

from wfdm.models.compressors.base import Compressor, VariationalCompressor
from wfdm.models.compressors.brainmint import export_brainmint, import_brainmint
from wfdm.models.compressors.registry import build, load, save

__all__ = [
    "Compressor",
    "VariationalCompressor",
    "build",
    "export_brainmint",
    "import_brainmint",
    "load",
    "save",
]
