"""Wavelet VAE, the ablation of the fusion (paper, 3.1; authors' code).

Two fixed wavelet stages turn a volume into 64 channels at 1/4; what is learned only squeezes these
64 channels into the latent, at that one resolution. The bands stand in this package's order; the
authors' Wavelet VAE has LHH before HLL, which only permutes inputs and outputs of a convolution.
"""

import torch
from torch import Tensor, nn

from wfdm.config.compressors import WaveletAutoencoder
from wfdm.models import haar
from wfdm.models.blocks import (
    INITIAL_LOG_VARIANCE,
    LOG_VARIANCE,
    ResBlock,
    SelfAttention,
    bottleneck,
    check_groups,
    conv3,
    norm,
)
from wfdm.models.compressors.base import VariationalCompressor

BANDS = 64  # eight of eight


class WaveletVAE(VariationalCompressor):
    """W, W, an autoencoder of one resolution, and back through W^-1, W^-1.

    With the default settings: 15,103,616 parameters.

    Raises:
        UserError: `norm_groups` does not divide the number of channels.
    """

    factor = 4
    blocks = (ResBlock, SelfAttention)

    def __init__(self, settings: WaveletAutoencoder) -> None:
        super().__init__(settings)
        check_groups(settings.norm_groups, settings.channels)
        self.haar = settings.haar
        latent = settings.latent_channels
        self.encoder = nn.Sequential(
            conv3(BANDS, settings.channels),
            *_res_blocks(settings),
            *bottleneck(settings.channels, settings.norm_groups, settings.attention),
            norm(settings.channels, settings.norm_groups),
            conv3(settings.channels, latent),
        )
        self.to_mean = nn.Conv3d(latent, latent, kernel_size=1)
        self.to_log_variance = nn.Conv3d(latent, latent, kernel_size=1)
        nn.init.constant_(self.to_log_variance.get_parameter("bias"), INITIAL_LOG_VARIANCE)
        self.from_latent = nn.Conv3d(latent, latent, kernel_size=1)
        self.decoder = nn.Sequential(
            conv3(latent, settings.channels),
            *bottleneck(settings.channels, settings.norm_groups, settings.attention),
            *_res_blocks(settings),
            norm(settings.channels, settings.norm_groups),
            conv3(settings.channels, BANDS, zero=True),  # an empty volume at first
        )

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of q(z | v), each (B, C, D/4, H/4, W/4).

        Raises:
            UserError: a side of `v` is not a multiple of 4.
        """
        self.check_divides(v)
        c1 = haar.forward(v, self.haar)  # equation 4
        c2 = haar.forward(c1, self.haar)  # all eight bands again
        h = self.encoder(c2)
        log_variance = self.to_log_variance(h).clamp(*LOG_VARIANCE)
        return self.to_mean(h), torch.exp(log_variance / 2)

    def decode(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W) of the latent `z` (B, C, D/4, H/4, W/4)."""
        c2 = self.decoder(self.from_latent(z))
        return haar.inverse(haar.inverse(c2, self.haar), self.haar)


def _res_blocks(s: WaveletAutoencoder) -> list[nn.Module]:
    return [
        ResBlock(s.channels, s.channels, s.channels, s.norm_groups) for _ in range(s.res_blocks)
    ]
