"""WFDM: wavelet-fusion latent diffusion for multimodal brain MRI, as a reproducible study."""

__version__ = "0.1.0"
