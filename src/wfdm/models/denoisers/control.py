"""A control branch: what other scans of the same head say, added to the U-Net's skips.

Zhang et al. 2023 (arXiv 2302.05543), as BrainMint's completion of missing modalities has it: the
condition is the latents of the scans that are there, on the channel axis, and flags say which of
them are synthetic. Weights carry the names of the authors' class.
"""

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets.controlnet import ControlNetConditioningEmbedding
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding, zero_module
from torch import Tensor, cat, nn

from wfdm.config.denoisers import UNetSettings
from wfdm.data.table import MODALITIES
from wfdm.models.denoisers.unet import (
    TIME_SCALE,
    Denoiser,
    convolution,
    down_blocks,
    middle_block,
)

Residuals = tuple[list[Tensor], Tensor]
SHARED = {"modality_embedding.": "class_embedding."}
"""weights that the U-Net has too, under its name and under this one"""


class ControlNet(nn.Module):
    """The U-Net's way down beside it; every output passes a convolution that starts as zero.

    So a fresh branch changes nothing. The metadata goes to the U-Net alone.

    Args:
        settings: of the U-Net that it controls. It folds no voxels itself (`patch`).
        latent_channels: channels of the latent, C.
        control_channels: channels of the condition: C for each scan that it may hold.
        condition_channels: inside the condition's embedding.
    """

    def __init__(
        self,
        settings: UNetSettings,
        latent_channels: int,
        control_channels: int,
        condition_channels: int,
    ) -> None:
        super().__init__()
        first, width = settings.channels[0], 4 * settings.channels[0]
        self.first = first
        self.conv_in = convolution(latent_channels, first)
        self.time_embed = nn.Sequential(nn.Linear(first, width), nn.SiLU(), nn.Linear(width, width))
        self.class_embedding = nn.Embedding(len(MODALITIES), width)
        self.synthetic_embedding = nn.Sequential(
            nn.Linear(len(MODALITIES), width), nn.SiLU(), nn.Linear(width, width)
        )
        self.controlnet_cond_embedding = ControlNetConditioningEmbedding(
            spatial_dims=3,
            in_channels=control_channels,
            out_channels=first,
            channels=(condition_channels,),
        )
        self.down_blocks = down_blocks(settings, 2 * width)
        self.middle_block = middle_block(settings, 2 * width)
        # The first has no `conv` in its name, the others have: so the authors' files say.
        widths = _widths(settings)
        outputs = [_zero(widths[0]).get_submodule("conv"), *(_zero(each) for each in widths[1:])]
        self.controlnet_down_blocks = nn.ModuleList(outputs)
        self.controlnet_mid_block = _zero(settings.channels[-1])

    def forward(
        self,
        z: Tensor,
        t: Tensor,
        modality: Tensor,
        control: Tensor,
        synthetic: Tensor,
        scale: float = 1.0,
    ) -> Residuals:
        """Return what is added to each skip of the U-Net, from shallow to deep, and to its middle.

        Args:
            z: (B, C, d, h, w) noisy latent.
            t: (B,) time in [0, 1]; 0 is data, 1 is noise.
            modality: (B,) long, index into MODALITIES of what is made.
            control: (B, control channels, d, h, w) scaled latents of the scans that are there.
            synthetic: (B, 4) 1 where the scan of a modality is synthetic; in the authors' order
                t1w, t2w, flair, t1ce.
            scale: all residuals are multiplied by it.
        """
        return self.residuals(z, self.condition(t, modality, synthetic), control, scale)

    def condition(self, t: Tensor, modality: Tensor, synthetic: Tensor) -> Tensor:
        """Return the vector injected into every block, (B, 8 * channels[0]); see `forward`."""
        sinusoids = get_timestep_embedding(TIME_SCALE * t, self.first)
        embedded = self.time_embed(sinusoids) + self.class_embedding(modality)
        return cat([embedded, self.synthetic_embedding(synthetic)], dim=1)

    def residuals(
        self, z: Tensor, embedding: Tensor, control: Tensor, scale: float = 1.0
    ) -> Residuals:
        """Return what `forward` does, given what `condition` returns."""
        h = self.conv_in(z) + self.controlnet_cond_embedding(control)
        skips = [h]
        for block in self.down_blocks:
            h, outputs = block(hidden_states=h, temb=embedding)
            skips += outputs
        middle = self.controlnet_mid_block(self.middle_block(hidden_states=h, temb=embedding))
        pairs = zip(self.controlnet_down_blocks, skips, strict=True)
        return [scale * output(skip) for output, skip in pairs], scale * middle

    @torch.no_grad()
    def start_as(self, denoiser: Denoiser) -> list[str]:
        """Take over the weights of the U-Net's way down; return the names of the others.

        The projections of the embedding are taken too: their second half then reads flags where
        it read metadata, as with the authors' copy. The outputs stay zero.
        """
        theirs = {}
        for key, value in denoiser.state_dict().items():
            for ours, name in SHARED.items():
                key = name + key.removeprefix(ours) if key.startswith(ours) else key
            theirs[key] = value
        state = self.state_dict()
        taken = {key: theirs[key] for key in state if key in theirs}
        self.load_state_dict(taken, strict=False)
        return [key for key in state if key not in taken]


def _widths(settings: UNetSettings) -> list[int]:
    """Return the channels of each skip: the first convolution's, then a level's blocks and end."""
    widths, last = [settings.channels[0]], len(settings.channels) - 1
    for level, channels in enumerate(settings.channels):
        widths += [channels] * (settings.res_blocks + (level < last))
    return widths


def _zero(channels: int) -> nn.Module:
    layer = Convolution(3, channels, channels, strides=1, kernel_size=1, padding=0, conv_only=True)
    return zero_module(layer)
