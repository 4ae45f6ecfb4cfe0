"""MAISI (Guo et al. 2025, arXiv 2409.11169; NV-Generate): MONAI's networks and its steps.

A rectified flow in latents of 4 channels at a quarter of the size, told the modality and the size
of a voxel.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from torch import Tensor

from wfdm.processes.rflow import spatial_voxels, time_shift

NORM_EPS = 1e-6
LATENT, FACTOR = 4, 4
CLASSES = 128
UNKNOWN = 0  # the class that stands for no condition
REFERENCE_VOXELS = 32**3
PER_MM = 100.0  # voxel sizes are told in hundredths of a mm
TIMESTEPS = 1000
Velocity = Callable[[Tensor, float], Tensor]


def autoencoder(
    channels: Sequence[int] = (64, 128, 256),
    res_blocks: Sequence[int] = (2, 2, 2),
    groups: int = 32,
) -> AutoencoderKlMaisi:
    """Return the autoencoder, by default of the published size: 20,944,897 parameters.

    The release splits volumes into four parts and normalises in half precision to save memory; here
    both are off, which changes no digit of the first and rounds less than the second.
    """
    return AutoencoderKlMaisi(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        num_channels=channels,
        num_res_blocks=res_blocks,
        attention_levels=[False] * len(channels),
        latent_channels=LATENT,
        norm_num_groups=groups,
        norm_eps=NORM_EPS,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
        norm_float16=False,
        num_splits=1,
        dim_split=1,
        save_mem=False,
    )


def unet(
    channels: Sequence[int] = (64, 128, 256, 512),
    res_blocks: int = 2,
    head_channels: int = 32,
    groups: int = 32,
) -> DiffusionModelUNetMaisi:
    """Return the denoiser, by default of the published size: 180,500,868 parameters."""
    attention = [False, False, *(True for _ in channels[2:])]
    return DiffusionModelUNetMaisi(
        spatial_dims=3,
        in_channels=LATENT,
        out_channels=LATENT,
        num_channels=channels,
        num_res_blocks=res_blocks,
        attention_levels=attention,
        num_head_channels=[head_channels * attends for attends in attention],
        norm_num_groups=groups,
        norm_eps=NORM_EPS,
        num_class_embeds=CLASSES,
        resblock_updown=True,
        include_fc=True,
        use_flash_attention=False,  # the release's needs a GPU; the numbers are the same
        include_top_region_index_input=False,
        include_bottom_region_index_input=False,
        include_spacing_input=True,
    )


def guided(
    network: DiffusionModelUNetMaisi, classes: Tensor, spacing_mm: Sequence[float], guidance: float
) -> Velocity:
    """Return v = u + g (c - u): told the class and told none; both are told the voxels' size.

    Args:
        network: frozen.
        classes: (B,) long, identifiers of modalities.
        spacing_mm: of the output's voxels.
        guidance: g; at 1 the second answer is not asked for.
    """
    spacing = PER_MM * torch.tensor([list(spacing_mm)], device=classes.device)
    spacing = spacing.expand(len(classes), -1).half().float()

    def velocity(z: Tensor, t: float) -> Tensor:
        times = z.new_full((len(z),), t)
        told = network(z, times, class_labels=classes, spacing_tensor=spacing)
        if guidance == 1:
            return told
        nothing = torch.full_like(classes, UNKNOWN)
        untold = network(z, times, class_labels=nothing, spacing_tensor=spacing)
        return untold + guidance * (told - untold)

    return velocity


def timesteps(steps: int, latent_shape: tuple[int, ...]) -> Tensor:
    """Return the timesteps, from 1000 down, float64 of half-precision values as in the release.

    They are shifted by the latent's voxels; above 512 half precision knows halves only.
    """
    even = 1 - torch.arange(steps, dtype=torch.float64) / steps
    shifted = time_shift(even, spatial_voxels(latent_shape), REFERENCE_VOXELS)
    return (TIMESTEPS * shifted).half().double()


def sampled(velocity: Velocity, start: Tensor, times: Tensor) -> Tensor:
    """Return the latent that Euler's steps make of `start`, unit noise (B, 4, d, h, w).

    A step ends at the next timestep's whole number, as in the release, but begins at the exact one.
    """
    z = start
    for now, later in pairwise([*times.tolist(), 0.0]):
        z = z + velocity(z, now) * ((now - int(later)) / TIMESTEPS)
    return z


def saved(volume: Tensor) -> Tensor:
    """Return what their saver makes of a decoded volume: thousandths, none below 0, int16."""
    return (1000 * volume).clamp(0, torch.iinfo(torch.int16).max).to(torch.int16)
