"""The conditional 3D U-Net of stage B (paper, 2.5.4-2.5.5), built from MONAI's blocks."""

import json
from pathlib import Path
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets.diffusion_model_unet import (
    get_down_block,
    get_mid_block,
    get_timestep_embedding,
    get_up_block,
    zero_module,
)
from torch import Tensor, cat, nn

from wfdm.config.generators import UNetSettings
from wfdm.data.metadata import Schema, load_schema
from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.models.metadata_encoder import MetadataEncoder
from wfdm.models.weights import load_weights

NORM_EPS = 1e-6  # MAISI's and the authors'
TIME_SCALE = 1000.0  # the sinusoids' periods are made for times of 0 to 1000


class Denoiser(nn.Module):
    """Predict the velocity x0 - noise from a noisy latent, its time, modality and metadata.

    With the default settings the U-Net is the size of the authors' (180,402,308 parameters next
    to the metadata encoder's).

    Args:
        settings: levels, attention, widths.
        latent_channels: channels of the latent, C.
        schema: the metadata fields.
    """

    def __init__(self, settings: UNetSettings, latent_channels: int, schema: Schema) -> None:
        super().__init__()
        first, width = settings.channels[0], 4 * settings.channels[0]
        self.settings = settings
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
        self.conv_in = _convolution(latent_channels, first)
        self.down_blocks = _down_blocks(settings, 2 * width)
        self.middle_block = _middle_block(settings, 2 * width)
        self.up_blocks = _up_blocks(settings, 2 * width)
        self.out = nn.Sequential(
            nn.GroupNorm(settings.norm_groups, first, eps=NORM_EPS),
            nn.SiLU(),
            zero_module(_convolution(first, latent_channels)),
        )
        self._start_as_minus_z(min(latent_channels, first // 2))

    @torch.no_grad()
    def _start_as_minus_z(self, channels: int) -> None:
        """Begin with the velocity -z, up to the size of z, whatever the conditions.

        For pure noise, z_1, the velocity is x0 - z_1: so the noise already passes through, and
        what is left to learn is x0 (our choice: initial values are not published). z travels with
        both signs from the input convolution through the outermost skip connection, because
        SiLU(a) - SiLU(-a) = a; every block adds nothing at first.
        """
        net: Any = self  # MONAI's layers carry no types
        conv_in, conv_out = net.conv_in.conv, net.out[-1].conv
        skip = net.up_blocks[-1].resnets[-1].skip_connection.conv
        from_input = skip.in_channels - conv_in.out_channels  # where conv_in's output arrives
        middle = (1, 1, 1)
        for row in range(2 * channels):
            for conv in (conv_in, skip):
                conv.weight[row], conv.bias[row] = 0, 0
            sign = 1 - 2 * (row % 2)
            conv_in.weight[row, row // 2][middle] = sign
            skip.weight[row, from_input + row] = 1
            conv_out.weight[row // 2, row][middle] = -sign

    def condition(self, t: Tensor, modality: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Return the vector injected into every block, (B, 8 * channels[0]) (paper, 2.5.5)."""
        sinusoids = get_timestep_embedding(TIME_SCALE * t, self.settings.channels[0])
        embedded = self.time_embed(sinusoids) + self.modality_embedding(modality)
        metadata = self.metadata_projection(self.metadata_encoder(values, mask))
        return cat([embedded, metadata], dim=1)

    def forward(
        self, z: Tensor, t: Tensor, modality: Tensor, values: Tensor, mask: Tensor
    ) -> Tensor:
        """Return the velocity, shaped as `z`.

        Args:
            z: (B, C, d, h, w) noisy scaled latent; each side divides by 2 ** (levels - 1).
            t: (B,) float time in [0, 1]; 0 is data, 1 is noise.
            modality: (B,) long, index into MODALITIES.
            values: (B, 25) float metadata values.
            mask: (B, 25) float, 1 where a value is recorded.
        """
        embedding = self.condition(t, modality, values, mask)
        h = self.conv_in(z)
        skips = [h]
        for block in self.down_blocks:
            h, outputs = block(hidden_states=h, temb=embedding)
            skips += outputs
        h = self.middle_block(hidden_states=h, temb=embedding)
        for block in self.up_blocks:
            used = self.settings.res_blocks + 1
            h = block(hidden_states=h, res_hidden_states_list=skips[-used:], temb=embedding)
            del skips[-used:]
        return self.out(h)


def check_settings(settings: UNetSettings, latent_shape: tuple[int, ...], where: str) -> None:
    """Raise UserError, naming `where`, if the U-Net cannot be built or cannot take the latent."""
    for name in ("norm_groups", "head_channels"):
        divisor = getattr(settings, name)
        used = settings.channels if name == "norm_groups" else _attended(settings)
        bad = [channels for channels in used if channels % divisor]
        if bad:
            raise UserError(f"{where}.unet.{name}: {divisor} does not divide {bad[0]} channels")
    factor = 2 ** (len(settings.channels) - 1)
    if any(side % factor for side in latent_shape[1:]):
        raise UserError(
            f"{where}.unet.channels: {len(settings.channels)} levels need latent sides that divide "
            f"by {factor}, but the latent is {latent_shape[1:]}: use fewer levels"
        )


def load_denoiser(folder: Path) -> tuple[Denoiser, dict[str, Any]]:
    """Load a trained denoiser (EMA weights) in eval mode, and its config.json.

    Raises UserError when the folder holds none, or one of another metadata schema.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{path} is missing; train the generator or name another folder")
    config = json.loads(path.read_text(encoding="utf-8"))
    schema = load_schema()
    if config["metadata_fields"] != describe(schema):
        raise UserError(f"{path}: was trained with another config/metadata.yaml; put that back")
    settings = UNetSettings.model_validate(config["unet"])
    denoiser = Denoiser(settings, config["latent_space"]["shape"][0], schema)
    load_weights(denoiser, folder / "model.safetensors")
    return denoiser.eval().requires_grad_(False), config


def describe(schema: Schema) -> list[list[Any]]:
    """Return what of the schema the weights depend on, as JSON: name, kind, values, width."""
    return [[f.name, f.kind, list(f.values), f.embedding] for f in schema.fields]


def _convolution(inputs: int, outputs: int) -> Convolution:
    return Convolution(3, inputs, outputs, strides=1, kernel_size=3, padding=1, conv_only=True)


def _attended(settings: UNetSettings) -> list[int]:
    """Channels of every self-attention: the chosen levels, and always the middle."""
    pairs = zip(settings.channels, settings.attention, strict=True)
    return [channels for channels, attention in pairs if attention] + [settings.channels[-1]]


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


def _down_blocks(settings: UNetSettings, embedding: int) -> nn.ModuleList:
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


def _middle_block(settings: UNetSettings, embedding: int) -> nn.Module:
    return get_mid_block(
        in_channels=settings.channels[-1],
        with_conditioning=False,
        **_options(settings, embedding),
    )


def _up_blocks(settings: UNetSettings, embedding: int) -> nn.ModuleList:
    channels = settings.channels
    last = len(channels) - 1
    return nn.ModuleList(
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
