"""ALDM's VQ-GAN (Kim and Park 2024, arXiv 2311.17042): a codebook behind a residual autoencoder.

Its network is VQGAN's (Esser et al. 2021, arXiv 2012.09841) in three dimensions without attention:
levels of residual blocks, two of three halve each side.
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from wfdm.config.codebooks import AldmQuantised
from wfdm.models.blocks import Downsample, ResBlock, Upsample, check_groups, conv3, norm
from wfdm.models.compressors.base import Compressor, Losses
from wfdm.models.compressors.codebook import (
    Parts,
    looked_up,
    names_of,
    nearest,
    renamed,
    sequence,
)

COMMITMENT = 0.25  # of the term that moves the codes: beta stands there in VQGAN's older form
OTHER_PARTS = ("loss.", "spade.")  # of their file: the discriminator, and the second stage's layers


class AldmVQGAN(Compressor):
    """The latent is the encoder's output; decoding first moves it to the nearest codes.

    As their second stage does, a diffusion model works on the continuous latent; there is no
    posterior, so the standard deviation is zero. Inside, volumes are in [-1, 1], outside in [0, 1].

    Raises:
        UserError: `norm_groups` does not divide the numbers of channels.
    """

    settings: AldmQuantised
    blocks = (ResBlock, Downsample, Upsample)

    def __init__(self, settings: AldmQuantised) -> None:
        super().__init__(settings)
        check_groups(settings.norm_groups, *settings.channels)
        self.factor = settings.factor
        size = settings.code_channels
        self.encoder, self._encoder_names = sequence(_encoder(settings))
        self.to_code, self.from_code = nn.Conv3d(size, size, 1), nn.Conv3d(size, size, 1)
        self.codes = nn.Parameter(torch.empty(settings.codes, size))
        nn.init.uniform_(self.codes, -1 / settings.codes, 1 / settings.codes)  # VQGAN's
        self.decoder, self._decoder_names = sequence(_decoder(settings))

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latent before quantisation, (B, code channels, D/f, H/f, W/f), and zeros.

        Raises:
            UserError: a side of `v` is not a multiple of f.
        """
        self.check_divides(v)
        z = self.to_code(self.encoder(2 * v - 1))
        return z, torch.zeros_like(z)

    def quantise(self, z: Tensor) -> Tensor:
        """Return the nearest code of every latent voxel, shaped as `z`."""
        return looked_up(nearest(z, self.codes), self.codes).to(z.dtype)

    def decode(self, z: Tensor) -> Tensor:
        """Return the volume (B, 1, D, H, W) of the latent `z`, quantised here."""
        return self.decode_codes(self.quantise(z))

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Return the volume of a latent that is taken as it is."""
        return (self.decoder(self.from_code(codes)) + 1) / 2

    def forward(self, v: Tensor, generator: torch.Generator) -> tuple[Tensor, Losses]:
        """Return the reconstruction and the codebook's term; nothing is drawn.

        mean((sg(c) - z)^2) + beta mean((c - sg(z))^2), sg without gradient; the gradient of the
        reconstruction passes through the quantisation unchanged.
        """
        z, _ = self.encode(v)
        codes = self.quantise(z)
        term = (codes.detach() - z).square().mean()
        term = term + COMMITMENT * (codes - z.detach()).square().mean()
        return self.decode_codes(z + (codes - z).detach()), {"commitment": term}

    def shown_by(self, weights: Mapping[str, Tensor]) -> AldmQuantised:
        """Return the settings that weights of ALDM show by their shapes.

        Raises:
            KeyError: they are of another model.
        """
        levels = 1 + _highest(weights, "encoder.down.")
        widths = [
            len(weights[f"encoder.down.{level}.block.0.conv1.weight"]) for level in range(levels)
        ]
        codes, size = weights["quantize.embedding.weight"].shape
        return self.settings.model_copy(
            update={
                "channels": tuple(widths),
                "res_blocks": 1 + _highest(weights, "encoder.down.0.block."),
                "codes": codes,
                "code_channels": size,
            }
        )

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a state dict of ALDM's first or second stage; what is not of it is left out.

        Raises:
            RuntimeError: names or sizes do not fit.
        """
        own = {key: value for key, value in weights.items() if not key.startswith(OTHER_PARTS)}
        self.load_state_dict(renamed(own, self._names()))

    def _names(self) -> dict[str, str]:
        """Return their name of each of our weights."""
        inner = {"shortcut": "nin_shortcut"}
        names = {"codes": "quantize.embedding.weight"}
        for ours, theirs in (("to_code", "quant_conv"), ("from_code", "post_quant_conv")):
            names |= {f"{ours}.{key}": f"{theirs}.{key}" for key in ("weight", "bias")}
        names |= dict(names_of("encoder", self.encoder, self._encoder_names, inner))
        return names | dict(names_of("decoder", self.decoder, self._decoder_names, inner))


def _highest(weights: Mapping[str, Tensor], start: str) -> int:
    """Return the highest number that follows `start` in the names; -1 where there is none."""
    numbers = (key[len(start) :].partition(".")[0] for key in weights if key.startswith(start))
    return max((int(number) for number in numbers if number.isdecimal()), default=-1)


def _encoder(settings: AldmQuantised) -> Parts:
    groups, deepest = settings.norm_groups, settings.channels[-1]
    first = settings.channels[0]
    parts: list[tuple[str, nn.Module]] = [("encoder.conv_in", conv3(1, first))]
    last = len(settings.channels) - 1
    for level, (before, width) in enumerate(pairwise((first, *settings.channels))):
        for block in range(settings.res_blocks):
            name, inputs = f"encoder.down.{level}.block.{block}", width if block else before
            parts.append((name, ResBlock(inputs, width, width, groups)))
        if level < last:
            parts.append((f"encoder.down.{level}.downsample.conv", Downsample(width)))
    return [
        *parts,
        ("encoder.mid.block_1", ResBlock(deepest, deepest, deepest, groups)),
        ("encoder.norm_out", norm(deepest, groups)),
        ("", nn.SiLU()),
        ("encoder.conv_out", conv3(deepest, settings.code_channels)),
    ]


def _decoder(settings: AldmQuantised) -> Parts:
    groups, deepest = settings.norm_groups, settings.channels[-1]
    parts: list[tuple[str, nn.Module]] = [
        ("decoder.conv_in", conv3(settings.code_channels, deepest)),
        ("decoder.mid.block_1", ResBlock(deepest, deepest, deepest, groups)),
    ]
    upwards = (deepest, *reversed(settings.channels))
    for step, (before, width) in enumerate(pairwise(upwards)):
        level = len(settings.channels) - 1 - step
        for block in range(settings.res_blocks + 1):
            name, inputs = f"decoder.up.{level}.block.{block}", width if block else before
            parts.append((name, ResBlock(inputs, width, width, groups)))
        if level:
            parts.append((f"decoder.up.{level}.upsample.conv", Upsample(width)))
    return [
        *parts,
        ("decoder.norm_out", norm(settings.channels[0], groups)),
        ("", nn.SiLU()),
        ("decoder.conv_out", conv3(settings.channels[0], 1)),
    ]
