"""The conditional 3D U-Net of stage B (paper, 2.5.4-2.5.5), built from MONAI's blocks."""

from collections.abc import Sequence
from typing import Any

from einops import rearrange
from monai.networks.blocks import Convolution
from monai.networks.nets.diffusion_model_unet import (
    get_down_block,
    get_mid_block,
    get_timestep_embedding,
    get_up_block,
    zero_module,
)
from torch import Tensor, cat, einsum, nn, zeros
from torch.nn.functional import one_hot

from wfdm.config.denoisers import UNetSettings
from wfdm.data.metadata import Schema
from wfdm.data.table import MODALITIES
from wfdm.models.blocks import DoubledConvolution, quicken
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.metadata_encoder import MetadataEncoder
from wfdm.models.denoisers.network import Network

NORM_EPS = 1e-6  # MAISI's and the authors'
CONDITIONING = ("time_embed", "modality_embedding", "metadata_encoder", "metadata_projection")
"""parts that embed time and conditions; all others work on the latent"""
TIME_SCALE = 1000.0  # the sinusoids' periods are made for times of 0 to 1000


class Denoiser(Network):
    """Answer a noisy latent, its time, modality and metadata; what for, the process says.

    With the default settings the U-Net is the size of the authors' (180,402,308 parameters next
    to the metadata encoder's).

    Args:
        settings: levels, attention, widths.
        latent_shape: (C, d, h, w) of the latents; only `maps` bind the weights to these sides.
        schema: the metadata fields.
    """

    def __init__(
        self, settings: UNetSettings, latent_shape: tuple[int, int, int, int], schema: Schema
    ) -> None:
        super().__init__()
        first, width = settings.channels[0], 4 * settings.channels[0]
        self.settings, self.width = settings, 2 * width
        # 2.5.5, time and target modality: two embeddings of one width, added.
        self.time_embed = nn.Sequential(nn.Linear(first, width), nn.SiLU(), nn.Linear(width, width))
        self.modality_embedding = nn.Embedding(len(MODALITIES), width)
        # 2.5.5, metadata: e_meta, projected to the embedding width and concatenated. Where the
        # widths agree the encoder's last linear layer is the projection (as in the authors' code).
        self.metadata_encoder = MetadataEncoder(schema, settings.metadata_width)
        agree = settings.metadata_width == width
        self.metadata_projection = (
            nn.Identity() if agree else nn.Linear(settings.metadata_width, width)
        )
        # 2.5.4, the denoising network over the scaled latent z_t.
        folded = latent_shape[0] * settings.patch**3
        self.conv_in = convolution(folded, first)
        self.down_blocks = down_blocks(settings, 2 * width)
        self.middle_block = middle_block(settings, 2 * width)
        self.up_blocks = _up_blocks(settings, 2 * width)
        self.out = nn.Sequential(
            nn.GroupNorm(settings.norm_groups, first, eps=NORM_EPS),
            nn.SiLU(),
            zero_module(convolution(first, folded)),
        )
        if settings.maps:
            self.maps = Maps(schema, settings.maps, width, latent_shape)
        quicken(self)

    def condition(self, t: Tensor, conditions: Conditions) -> Tensor:
        """Return the vector injected into every block, (B, 8 * channels[0]) (paper, 2.5.5).

        With `maps`, what weighs them comes after it.
        """
        sinusoids = get_timestep_embedding(TIME_SCALE * t, self.settings.channels[0])
        time = self.time_embed(sinusoids)
        embedded = time + self.modality_embedding(conditions.modality)
        coded = self.metadata_encoder(conditions.values, conditions.mask)
        parts = [embedded, self.metadata_projection(coded)]
        if self.settings.maps:
            parts.append(self.maps.weights(time, conditions))
        return cat(parts, dim=1)

    def forward(
        self,
        z: Tensor,
        t: Tensor,
        conditions: Conditions,
        residuals: tuple[list[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the answer, shaped as `z`; a fresh network answers zero.

        Args:
            z: (B, C, d, h, w) noisy latent; each side divides by patch * 2 ** (levels - 1).
            t: (B,) float time in [0, 1]; 0 is data, 1 is noise.
            conditions: modality and metadata of each item.
            residuals: what a control branch adds to the skips and to the middle (`control`).
        """
        return self.answer(z, self.condition(t, conditions), residuals)

    def answer(
        self,
        z: Tensor,
        embedding: Tensor,
        residuals: tuple[list[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the answer to z, given what `condition` returns for its time and conditions."""
        embedding, weights = embedding.tensor_split([self.width], dim=1)
        h = self.conv_in(fold(z, self.settings.patch))
        skips = [h]
        for block in self.down_blocks:
            h, outputs = block(hidden_states=h, temb=embedding)
            skips += outputs
        h = self.middle_block(hidden_states=h, temb=embedding)
        if residuals is not None:
            skips = [skip + added for skip, added in zip(skips, residuals[0], strict=True)]
            h = h + residuals[1]
        for block in self.up_blocks:
            used = self.settings.res_blocks + 1
            h = block(hidden_states=h, res_hidden_states_list=skips[-used:], temb=embedding)
            del skips[-used:]
        answer = unfold(self.out(h), self.settings.patch)
        return answer + self.maps(weights) if self.settings.maps else answer


class Maps(nn.Module):
    """Maps of the latent for contrast m, weighed by the metadata: sum_f g_f(t) v_f M_mf.

    A convolution sees the same everywhere, so in a few hundred steps it does not learn where in a
    head ventricles grow with age. The maps are weights, zero in a fresh network. v_f is a number's
    z-score, or 1 for the category that is recorded and 0 for all others; nothing recorded weighs
    nothing. The gain g_f is linear in the embedded time and 1 in a fresh network.

    Args:
        schema: the metadata fields.
        names: of those that have maps.
        width: of the embedded time.
        latent_shape: (C, d, h, w).
    """

    def __init__(
        self,
        schema: Schema,
        names: Sequence[str],
        width: int,
        latent_shape: tuple[int, int, int, int],
    ) -> None:
        super().__init__()
        chosen = [schema.names.index(name) for name in names]
        self.numeric = [i for i in chosen if i in schema.numeric]
        self.coded = [(i, schema.fields[i].classes) for i in chosen if i in schema.coded]
        count = len(self.numeric) + sum(classes - 1 for _, classes in self.coded)
        self.maps = nn.Parameter(zeros(len(MODALITIES), count, *latent_shape))
        self.gain = zero_module(nn.Linear(width, count))

    def weights(self, time: Tensor, conditions: Conditions) -> Tensor:
        """Return what weighs each contrast's maps, (B, contrasts * maps), for embedded times."""
        values = conditions.values * conditions.mask
        codes = values.long()
        parts = [values[:, self.numeric]]
        parts += [one_hot(codes[:, i], classes)[:, 1:] for i, classes in self.coded]
        told = (1 + self.gain(time)) * cat(parts, dim=1)
        chosen = one_hot(conditions.modality, len(MODALITIES)).to(told.dtype)
        return einsum("bm,bf->bmf", chosen, told).flatten(1)

    def forward(self, weights: Tensor) -> Tensor:
        """Return (B, C, d, h, w) for what `weights` returned."""
        return einsum("bk,kcdhw->bcdhw", weights, self.maps.flatten(0, 1))


def fold(z: Tensor, patch: int) -> Tensor:
    """Return (B, C, d, h, w) with each cube of `patch` voxels a side in C * patch^3 channels."""
    axes = {"p": patch, "q": patch, "r": patch}
    return rearrange(z, "b c (d p) (h q) (w r) -> b (c p q r) d h w", **axes)


def unfold(z: Tensor, patch: int) -> Tensor:
    """Return what was given to `fold`."""
    axes = {"p": patch, "q": patch, "r": patch}
    return rearrange(z, "b (c p q r) d h w -> b c (d p) (h q) (w r)", **axes)


def convolution(inputs: int, outputs: int) -> Convolution:
    """Return a 3x3x3 convolution of MONAI's, under MONAI's names."""
    return Convolution(3, inputs, outputs, strides=1, kernel_size=3, padding=1, conv_only=True)


def _options(settings: UNetSettings, embedding: int) -> dict[str, Any]:
    """What all blocks share; MAISI's choices where the settings leave none.

    "Flash" selects torch's scaled_dot_product_attention, which never holds the matrix of tokens
    by tokens and runs on CPU too.
    """
    return {
        "spatial_dims": 3,
        "temb_channels": embedding,
        "norm_num_groups": settings.norm_groups,
        "norm_eps": NORM_EPS,
        "num_head_channels": settings.head_channels,
        "transformer_num_layers": 1,
        "cross_attention_dim": None,
        "include_fc": True,
        "use_flash_attention": True,
    }


def down_blocks(settings: UNetSettings, embedding: int) -> nn.ModuleList:
    """Return the levels on the way down; `embedding` is the width of what is injected."""
    channels = settings.channels
    last = len(channels) - 1
    return nn.ModuleList(
        get_down_block(
            in_channels=channels[max(level - 1, 0)],
            out_channels=channels[level],
            num_res_blocks=settings.res_blocks,
            add_downsample=level < last,
            resblock_updown=True,
            with_attn=settings.attention[level],
            with_cross_attn=False,
            **_options(settings, embedding),
        )
        for level in range(len(channels))
    )


def middle_block(settings: UNetSettings, embedding: int) -> nn.Module:
    """Return the middle, which always has self-attention."""
    return get_mid_block(
        in_channels=settings.channels[-1],
        with_conditioning=False,
        **_options(settings, embedding),
    )


def _up_blocks(settings: UNetSettings, embedding: int) -> nn.ModuleList:
    channels = settings.channels
    last = len(channels) - 1
    blocks = nn.ModuleList(
        get_up_block(
            in_channels=channels[max(level - 1, 0)],
            prev_output_channel=channels[min(level + 1, last)],
            out_channels=channels[level],
            num_res_blocks=settings.res_blocks + 1,  # one more skip: the level's own input
            add_upsample=level > 0,
            resblock_updown=True,
            with_attn=settings.attention[level],
            with_cross_attn=False,
            **_options(settings, embedding),
        )
        for level in range(last, -1, -1)
    )
    for block in blocks:
        if block.upsampler is not None:
            _double_late(block.upsampler)
    return blocks


def _double_late(block: Any) -> None:
    """Let MONAI's block double each side within its first convolution; its shortcut is plain."""
    block.conv1.conv = DoubledConvolution.like(block.conv1.conv)
    block.upsample = nn.Identity()
    block.skip_connection = nn.Upsample(scale_factor=2.0)
