"""Models: compressors behind one protocol, the denoiser, the fixed feature network."""

from wfdm.models.brainmint import export_brainmint, import_brainmint
from wfdm.models.compressor import Compressor, VariationalCompressor
from wfdm.models.registry import build, load, save

__all__ = [
    "Compressor",
    "VariationalCompressor",
    "build",
    "export_brainmint",
    "import_brainmint",
    "load",
    "save",
]
