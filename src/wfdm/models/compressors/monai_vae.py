"""VAE-GAN, MAISI VAE-GAN and LDM-VAE: MONAI's autoencoders behind the study's protocol.

They are networks of the paper's references (Guo et al., 2025; Pinaya et al., 2022); the posterior
(2.5.1: separate 1x1x1 convolutions, clamped log variance) is MONAI's.
"""

import re
from collections.abc import Mapping

from monai.apps.generation.maisi.networks.autoencoderkl_maisi import (
    AutoencoderKlMaisi,
    MaisiDownsample,
    MaisiResBlock,
    MaisiUpsample,
)
from monai.networks.blocks import SpatialAttentionBlock, Upsample
from monai.networks.nets.autoencoderkl import AEKLDownsample, AEKLResBlock, AutoencoderKL
from torch import Tensor

from wfdm.config.compressors import KLAutoencoder, MaisiAutoencoder
from wfdm.models.blocks import NORM_EPS, check_groups
from wfdm.models.compressors.base import VariationalCompressor


class MonaiVAE(VariationalCompressor):
    """An AutoencoderKL of MONAI, `net`."""

    def __init__(self, settings: MaisiAutoencoder | KLAutoencoder, net: AutoencoderKL) -> None:
        super().__init__(settings)
        self.factor = 2 ** (len(settings.channels) - 1)
        self.net = net

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of q(z | v), each (B, C, D/f, H/f, W/f).

        Raises:
            UserError: a side of `v` is not a multiple of f.
        """
        self.check_divides(v)
        return self.net.encode(v)

    def decode(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W) of the latent `z` (B, C, D/f, H/f, W/f)."""
        return self.net.decode(z)

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a state dict of MONAI or of its predecessor, MONAI Generative Models.

        Raises:
            RuntimeError: names or sizes do not fit.
        """
        # The one difference for a network without attention: the convolution after upsampling.
        old = re.compile(r"^(decoder\.blocks\.\d+)\.conv\.conv\.(weight|bias)$")
        mine = self.net.state_dict()
        renamed = {
            key if key in mine else old.sub(r"\1.postconv.conv.\2", key): value
            for key, value in weights.items()
        }
        self.net.load_state_dict(renamed)


class MaisiVAE(MonaiVAE):
    """MAISI's autoencoder: f = 4, 4 channels, 20,944,897 parameters by default.

    The authors' "VAE-GAN (BrainScape)" has no class of its own in their code: it is this network,
    trained here. Half-precision normalisation, a memory saving of MAISI's, is left to the
    training's precision.

    Raises:
        UserError: `norm_groups` does not divide the numbers of channels.
    """

    blocks = (MaisiResBlock, MaisiDownsample, MaisiUpsample)

    def __init__(self, settings: MaisiAutoencoder) -> None:
        check_groups(settings.norm_groups, *settings.channels)
        levels = len(settings.channels)
        net = AutoencoderKlMaisi(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            num_channels=settings.channels,
            num_res_blocks=[settings.res_blocks] * levels,
            attention_levels=[False] * levels,
            latent_channels=settings.latent_channels,
            norm_num_groups=settings.norm_groups,
            norm_eps=NORM_EPS,
            num_splits=settings.splits,
            dim_split=1,
            save_mem=False,
        )
        super().__init__(settings, net)


class LdmVAE(MonaiVAE):
    """The autoencoder of the brain LDM: f = 8, 3 channels by default.

    Raises:
        UserError: `norm_groups` does not divide the numbers of channels.
    """

    blocks = (AEKLResBlock, AEKLDownsample, Upsample, SpatialAttentionBlock)

    def __init__(self, settings: KLAutoencoder) -> None:
        check_groups(settings.norm_groups, *settings.channels)
        levels = len(settings.channels)
        net = AutoencoderKL(
            spatial_dims=3,
            channels=settings.channels,
            num_res_blocks=[settings.res_blocks] * levels,
            attention_levels=[False] * levels,
            latent_channels=settings.latent_channels,
            norm_num_groups=settings.norm_groups,
            norm_eps=NORM_EPS,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        super().__init__(settings, net)
