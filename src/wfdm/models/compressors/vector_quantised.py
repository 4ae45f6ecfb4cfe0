"""A VQ-VAE of one's own on MONAI's network: a codebook instead of a posterior.

The published ones of table 3 have networks of their own: `aldm` and `brainsynth`.
"""

from collections.abc import Mapping

import torch
from monai.networks.nets import vqvae
from torch import Tensor

from wfdm.config.codebooks import VectorQuantised
from wfdm.models.compressors.base import Compressor, Losses
from wfdm.models.compressors.codebook import looked_up, nearest


class VQVAE(Compressor):
    """The latent is the encoder's output; decoding first moves it to the nearest codes.

    So a diffusion model works on the continuous latent, as latent diffusion does with VQ models
    (Rombach et al., 2022; ALDM), and any latent can be decoded. There is no posterior: the
    standard deviation is zero.
    """

    blocks = (vqvae.VQVAEResidualUnit,)

    def __init__(self, settings: VectorQuantised) -> None:
        super().__init__(settings)
        levels = len(settings.channels)
        self.factor, self.symmetric = 2**levels, settings.symmetric
        self.net = vqvae.VQVAE(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            channels=settings.channels,
            num_res_layers=settings.res_layers,
            num_res_channels=settings.channels,
            downsample_parameters=[(2, 4, 1, 1)] * levels,
            upsample_parameters=[(2, 4, 1, 1, 0)] * levels,
            num_embeddings=settings.codes,
            embedding_dim=settings.code_channels,
        )

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latent before quantisation, (B, code channels, D/f, H/f, W/f), and zeros.

        Raises:
            UserError: a side of `v` is not a multiple of f.
        """
        self.check_divides(v)
        z = self.net.encode(2 * v - 1 if self.symmetric else v)
        return z, torch.zeros_like(z)

    def quantise(self, z: Tensor) -> Tensor:
        """Return the nearest code of every latent voxel, shaped as `z`.

        MONAI's own search holds four matrices of voxels by codes, 17 GB for a volume of the study.
        """
        codes = self.net.quantizer.quantizer.embedding.weight
        return looked_up(nearest(z, codes), codes).to(z.dtype)

    def decode(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W) of the latent `z`, quantised here."""
        return self._decoded(self.quantise(z))

    def forward(self, v: Tensor, generator: torch.Generator) -> tuple[Tensor, Losses]:
        """Return the reconstruction and the commitment term; nothing is drawn.

        The codebook follows the encoder by a moving average in this pass; gradients pass through
        the quantisation unchanged (van den Oord et al., 2017).
        """
        z, _ = self.encode(v)
        codes, commitment = self.net.quantize(z)
        return self._decoded(codes), {"commitment": commitment}

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a state dict of MONAI's VQVAE.

        Raises:
            RuntimeError: names or sizes do not fit.
        """
        self.net.load_state_dict(weights)

    def _decoded(self, codes: Tensor) -> Tensor:
        x = self.net.decode(codes)
        return (x + 1) / 2 if self.symmetric else x
