"""All that makes volumes, behind one protocol; `load` reads a trained generator from its folder."""

from wfdm.generators.latent_diffusion import load
from wfdm.generators.protocol import Generator, Request, Sample

__all__ = ["Generator", "Request", "Sample", "load"]
