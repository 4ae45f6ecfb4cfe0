"""WF-VAE and WF-SA-VAE, the compressors of stage A (paper, 2.5.1-2.5.2, figure 1A).

v is a volume (B, 1, D, H, W), z its latent (B, latent channels, D/4, H/4, W/4). Where the paper
leaves a choice open (which bands S selects, how features and coefficients are fused, the order of
blocks) this follows the authors' public code, so that their weights can be used.
"""

import torch
from torch import Tensor, nn

from wfdm.config.compressors import WaveletFusion
from wfdm.models import haar
from wfdm.models.blocks import (
    INITIAL_LOG_VARIANCE,
    LOG_VARIANCE,
    Downsample,
    ResBlock,
    SelfAttention,
    Upsample,
    bottleneck,
    carry,
    check_groups,
    conv3,
    norm,
)
from wfdm.models.compressors.base import VariationalCompressor

SELECTED = 4  # S(.) keeps LLL and the three bands that are high along one axis


class Encoder(nn.Module):
    """E_phi up to the features from which the posterior is read."""

    def __init__(self, s: WaveletFusion) -> None:
        super().__init__()
        shallow, deep = s.channels
        fused = s.wavelet_channels + shallow
        self.haar = s.haar
        self.project1 = conv3(8, s.wavelet_channels)
        self.project2 = conv3(8 * SELECTED, s.wavelet_channels)
        self.shallow = nn.Sequential(
            ResBlock(s.wavelet_channels, shallow, shallow, s.norm_groups),
            ResBlock(shallow, shallow, shallow, s.norm_groups),
        )
        self.down = Downsample(shallow)
        self.deep = nn.Sequential(
            ResBlock(fused, deep, deep, s.norm_groups),
            ResBlock(deep, deep, deep, s.norm_groups),
            *bottleneck(deep, s.norm_groups, s.attention),
        )
        self.norm_out = norm(deep, s.norm_groups)
        self.conv_out = conv3(deep, s.latent_channels)

    def forward(self, v: Tensor) -> Tensor:
        """Return the features (B, latent channels, D/4, H/4, W/4)."""
        # Equation 4: c1 = cat(W(v)), eight bands at 1/2.
        c1 = haar.forward(v, self.haar)
        # Equation 5: w1 = Pi_1(c1), the input of the encoder.
        w1 = self.project1(c1)
        # c2 = cat(W(S(c1))), thirty-two bands at 1/4; equation 6: w2 = Pi_2(c2).
        c2 = haar.forward(c1[:, :SELECTED], self.haar)
        w2 = self.project2(c2)
        # w2 is fused with the encoder's features of the second level.
        h = self.down(self.shallow(w1))
        h = self.deep(torch.cat((w2, h), dim=1))
        return self.conv_out(self.norm_out(h))


class Decoder(nn.Module):
    """D_psi: from a latent to the coefficients of both stages, and back through W^-1."""

    def __init__(self, s: WaveletFusion) -> None:
        super().__init__()
        shallow, deep = s.channels
        fused = s.wavelet_channels + shallow
        self.haar = s.haar
        self.wavelet_channels = s.wavelet_channels
        self.conv_in = conv3(s.latent_channels, deep)
        self.deep = nn.Sequential(
            *bottleneck(deep, s.norm_groups, s.attention),
            ResBlock(deep, deep, deep, s.norm_groups),
            ResBlock(deep, fused, deep, s.norm_groups),
        )
        self.up = Upsample(shallow)
        self.shallow = nn.Sequential(
            ResBlock(shallow, shallow, shallow, s.norm_groups),
            ResBlock(shallow, s.wavelet_channels, shallow, s.norm_groups),
        )
        self.norm_out = norm(s.wavelet_channels, s.norm_groups)
        # An empty volume at first, not noise: normalised features know nothing of a background.
        self.predict2 = conv3(s.wavelet_channels, 8 * SELECTED, zero=True)
        self.predict1 = conv3(s.wavelet_channels, 8, zero=True)

    def forward(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W); nothing bounds its values."""
        h = self.deep(self.conv_in(z))
        # The deep features split: the first part predicts c2, the rest goes on to c1.
        w2, h = h[:, : self.wavelet_channels], h[:, self.wavelet_channels :]
        w1 = self.norm_out(self.shallow(self.up(h)))
        c2, c1 = self.predict2(w2), self.predict1(w1)
        # W^-1(c2) recovers the selected bands, which are added to the predicted ones.
        selected = c1[:, :SELECTED] + haar.inverse(c2, self.haar)
        fused = torch.cat((selected, c1[:, SELECTED:]), dim=1)
        # v = W^-1 of the fused first-stage coefficients.
        return haar.inverse(fused, self.haar)


class WaveletFusionVAE(VariationalCompressor):
    """The whole compressor; `settings.attention` makes WF-SA-VAE of WF-VAE.

    With the default settings: 17,571,432 parameters, 32,260,712 with attention, as the authors'.

    Raises:
        UserError: `norm_groups` does not divide the numbers of channels.
    """

    factor = 4
    blocks = (ResBlock, SelfAttention, Downsample, Upsample)

    def __init__(self, settings: WaveletFusion) -> None:
        super().__init__(settings)
        check_groups(settings.norm_groups, *settings.channels, settings.wavelet_channels)
        latent = settings.latent_channels
        self.encoder = Encoder(settings)
        self.to_mean = nn.Conv3d(latent, latent, kernel_size=1)
        self.to_log_variance = nn.Conv3d(latent, latent, kernel_size=1)
        nn.init.constant_(self.to_log_variance.get_parameter("bias"), INITIAL_LOG_VARIANCE)
        self.from_latent = nn.Conv3d(latent, latent, kernel_size=1)
        self.decoder = Decoder(settings)
        self._start_as_haar_code(latent)

    def _start_as_haar_code(self, latent_channels: int) -> None:
        """Begin with a latent that is bands of c2, and a decoder that puts them back.

        Of the default four channels the first is the mean of each block of 4 x 4 x 4 voxels and
        the others are its gradients (LLL, LLH, LHL and HLL of LLL), close to the best linear code
        of four numbers: training starts from a blurred volume (our choice: initial values are not
        published).
        """
        encoder, decoder = self.encoder, self.decoder
        latent = range(min(latent_channels, len(haar.BANDS)))
        bands = [SELECTED * channel for channel in latent]  # those of c1's LLL
        carry(encoder.project2, bands, latent)
        inwards = (*encoder.deep, encoder.conv_out, self.to_mean)
        outwards = (self.from_latent, decoder.conv_in, *decoder.deep)
        for layer in (*inwards, *outwards):
            path = layer.shortcut if isinstance(layer, ResBlock) else layer
            if isinstance(path, nn.Conv3d):
                carry(path, latent, latent)
        carry(decoder.predict2, latent, bands)

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of q(z | v), each (B, C, D/4, H/4, W/4).

        Raises:
            UserError: a side of `v` is not a multiple of 4.
        """
        self.check_divides(v)
        h = self.encoder(v)
        log_variance = self.to_log_variance(h).clamp(*LOG_VARIANCE)
        return self.to_mean(h), torch.exp(log_variance / 2)

    def decode(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W) of the latent `z` (B, C, D/4, H/4, W/4)."""
        return self.decoder(self.from_latent(z))
