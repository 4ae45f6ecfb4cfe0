"""BrainSynth's VQ-VAE (Tudosiu et al. 2024, Nature Machine Intelligence): f = 16, no normalisation.

Its network is the VQ-VAE of van den Oord et al. 2017 (arXiv 1711.00937) in three dimensions; the
codebook follows the encoder by a moving average (their appendix A.1).
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfdm.config.codebooks import BrainSynthQuantised
from wfdm.models.blocks import Convolution
from wfdm.models.compressors.base import Compressor, Losses
from wfdm.models.compressors.codebook import (
    Parts,
    looked_up,
    names_of,
    nearest,
    renamed,
    sequence,
)

COMMITMENT = 0.25
EPSILON = 1e-5  # added to every code's count, so that none is divided by nothing
BOOK = "quantizer.0.impl."
TWICE = f"{BOOK}weight"  # in their files: the codes once more


class Residual(nn.Module):
    """ReLU(x + 1x1x1(ReLU(3x3x3(x)))), (B, C, ...)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Convolution(channels, channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, of the size of `x`."""
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class BrainSynthVQVAE(Compressor):
    """The latent is the encoder's output; decoding first moves it to the nearest codes.

    So any latent can be decoded; there is no posterior, and the standard deviation is zero.
    """

    settings: BrainSynthQuantised
    blocks = (Residual,)
    codes: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, settings: BrainSynthQuantised) -> None:
        super().__init__(settings)
        self.factor = settings.factor
        self.encoder, self._encoder_names = sequence(_encoder(settings))
        codes = torch.randn(settings.codes, settings.code_channels)
        self.register_buffer("codes", codes)
        self.register_buffer("counts", torch.zeros(settings.codes))
        self.register_buffer("sums", codes.clone())
        self.decoder, self._decoder_names = sequence(_decoder(settings))

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latent before quantisation, (B, code channels, D/f, H/f, W/f), and zeros.

        Raises:
            UserError: a side of `v` is not a multiple of f.
        """
        self.check_divides(v)
        z = self.encoder(v)
        return z, torch.zeros_like(z)

    def quantise(self, z: Tensor) -> Tensor:
        """Return the nearest code of every latent voxel, shaped as `z`."""
        return looked_up(nearest(z, self.codes), self.codes).to(z.dtype)

    def decode(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W) of the latent `z`, quantised here."""
        return self.decode_codes(self.quantise(z))

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Return the volume of a latent that is taken as it is."""
        return self.decoder(codes)

    def forward(self, v: Tensor, generator: torch.Generator) -> tuple[Tensor, Losses]:
        """Return the reconstruction and the commitment term; nothing is drawn.

        In training the codes then follow the encoder; gradients pass through the quantisation
        unchanged.
        """
        z, _ = self.encode(v)
        indices = nearest(z, self.codes)
        codes = looked_up(indices, self.codes).to(z.dtype)
        if self.training:
            self._follow(z.detach(), indices)
        term = COMMITMENT * (codes - z).square().mean()
        return self.decode_codes(z + (codes - z).detach()), {"commitment": term}

    @torch.no_grad()
    def _follow(self, z: Tensor, indices: Tensor) -> None:
        """Move each code to the moving average of the encodings that were nearest to it.

        N = d N + (1 - d) n and m = d m + (1 - d) sum of encodings, n how many; the code is m over
        N, smoothed: (N + e) / (sum N + codes e) sum N.
        """
        decay = self.settings.decay
        flat = z.movedim(1, -1).reshape(-1, z.shape[1]).float()
        chosen = F.one_hot(indices.flatten(), len(self.codes)).to(flat)
        self.counts.lerp_(chosen.sum(0), 1 - decay)
        self.sums.lerp_(chosen.T @ flat, 1 - decay)
        total = self.counts.sum()
        smoothed = (self.counts + EPSILON) / (total + len(self.codes) * EPSILON) * total
        self.codes.copy_(self.sums / smoothed[:, None])

    def shown_by(self, weights: Mapping[str, Tensor]) -> BrainSynthQuantised:
        """Return the settings that weights of BrainSynth show by their shapes.

        Raises:
            KeyError: they are of another model.
        """
        codes, size = weights[f"{BOOK}embedding.weight"].shape
        first = "encoder.0.2."  # the residual layers of the first level
        layers = {key[len(first) :].partition(".")[0] for key in weights if key.startswith(first)}
        downs = [
            len(value)
            for key, value in weights.items()
            if key.startswith("encoder.0.") and value.shape[2:] == (4, 4, 4)
        ]
        return self.settings.model_copy(
            update={
                "levels": len(downs),
                "channels": max(downs, default=0),
                "res_layers": len(layers),
                "codes": codes,
                "code_channels": size,
            }
        )

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a state dict of BrainSynth's baseline network.

        Raises:
            RuntimeError: names or sizes do not fit.
        """
        once = {key: value for key, value in weights.items() if key != TWICE}
        self.load_state_dict(renamed(once, self._names()))

    def _names(self) -> dict[str, str]:
        """Return their name of each of our weights."""
        inner = {"conv1": "0", "conv2": "3"}
        names = {
            "codes": f"{BOOK}embedding.weight",
            "counts": f"{BOOK}N",
            "sums": f"{BOOK}embed_avg",
        }
        names |= dict(names_of("encoder", self.encoder, self._encoder_names, inner))
        return names | dict(names_of("decoder", self.decoder, self._decoder_names, inner))


def _widths(settings: BrainSynthQuantised) -> list[int]:
    """Return the channels of each level: half of them until the last."""
    return [settings.channels // 2] * (settings.levels - 1) + [settings.channels]


def _residuals(name: str, channels: int, settings: BrainSynthQuantised) -> Parts:
    return [(f"{name}.{number}", Residual(channels)) for number in range(settings.res_layers)]


def _encoder(settings: BrainSynthQuantised) -> Parts:
    parts: list[tuple[str, nn.Module]] = []
    for level, (before, width) in enumerate(pairwise((1, *_widths(settings)))):
        place = 3 * level  # a level is three of their layers: convolution, ReLU, residuals
        halve = Convolution(before, width, kernel_size=4, stride=2, padding=1)
        parts += [(f"encoder.0.{place}", halve), ("", nn.ReLU())]
        parts += _residuals(f"encoder.0.{place + 2}", width, settings)
    out = Convolution(settings.channels, settings.code_channels, kernel_size=3, padding=1)
    return [*parts, (f"encoder.0.{3 * settings.levels}", out)]


def _decoder(settings: BrainSynthQuantised) -> Parts:
    first = Convolution(settings.code_channels, settings.channels, kernel_size=3, padding=1)
    parts: list[tuple[str, nn.Module]] = [("decoder.0.0", first)]
    for level, (width, after) in enumerate(pairwise((*reversed(_widths(settings)), 1))):
        place = 3 * level + 1
        parts += _residuals(f"decoder.0.{place}", width, settings)
        double = nn.ConvTranspose3d(width, after, kernel_size=4, stride=2, padding=1)
        parts.append((f"decoder.0.{place + 1}", double))
        if after != 1:
            parts.append(("", nn.ReLU()))
    return parts
