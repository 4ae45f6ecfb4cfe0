"""LDM (Pinaya et al. 2022, arXiv 2209.07162): MONAI's networks, its files' names, its steps.

Its files were written by MONAI's predecessor, MONAI Generative Models, whose names differ in a few
places (`renamed`). Latents have 3 channels at an eighth of the size; the four conditions are four
constant channels beside them, and the context of the attention too.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet
from torch import Tensor

from wfdm.config.denoisers import DiscreteDiffusionSettings
from wfdm.processes import ddpm
from wfdm.processes.samplers import ddim

NORM_EPS = 1e-6
LATENT, CONDITIONS = 3, 4  # channels
LATENT_SIDES = (20, 28, 20)
PROCESS = DiscreteDiffusionSettings(
    kind="ddpm",
    schedule="scaled-linear",
    prediction="epsilon",
    timesteps=1000,
    beta_first=0.0015,
    beta_last=0.0205,
)
CROP = (slice(5, -5), slice(5, -5), slice(0, -15))
# Of the cropped volume: voxels of 1 mm, stored from right to left.
AFFINE = ((-1, 0, 0, 96.48149872), (0, 1, 0, -141.47715759), (0, 0, 1, -156.55375671))

OLD_NAMES = (
    (re.compile(r"^(decoder\.blocks\.\d+)\.conv\.conv\."), r"\1.postconv.conv."),
    (re.compile(r"\.(attn[12])\.to_out\.0\."), r".\1.out_proj."),
)
Noise = Callable[[Tensor, Tensor], Tensor]
"""what the network says of (z, timesteps), shaped as z"""


def autoencoder(
    channels: Sequence[int] = (64, 128, 128, 128), res_blocks: int = 2, groups: int = 32
) -> AutoencoderKL:
    """Return the autoencoder, by default of the published size: 13,766,248 parameters."""
    levels = len(channels)
    return AutoencoderKL(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        channels=channels,
        num_res_blocks=[res_blocks] * levels,
        attention_levels=[False] * levels,
        latent_channels=LATENT,
        norm_num_groups=groups,
        norm_eps=NORM_EPS,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )


def unet(
    channels: Sequence[int] = (256, 512, 768),
    res_blocks: int = 2,
    groups: int = 32,
    latent: int = LATENT,
    conditions: int = CONDITIONS,
) -> DiffusionModelUNet:
    """Return the denoiser, by default of the published size: 553,168,899 parameters.

    All levels but the first attend, with one head each.
    """
    below = list(channels[1:])
    return DiffusionModelUNet(
        spatial_dims=3,
        in_channels=latent + conditions,
        out_channels=latent,
        channels=channels,
        num_res_blocks=res_blocks,
        attention_levels=[False, *(True for _ in below)],
        norm_num_groups=groups,
        norm_eps=NORM_EPS,
        resblock_updown=True,
        num_head_channels=[0, *below],
        with_conditioning=True,
        transformer_num_layers=1,
        cross_attention_dim=conditions,
        use_flash_attention=False,
        upcast_attention=False,  # the bundle's True fails in bfloat16; in float32 both are one
    )


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under MONAI's names, from its predecessor's or its own.

    The convolution after an upsampling of the decoder and the attentions' last projection have
    other names now; the encoder's convolutions keep theirs.
    """
    found = {}
    for key, value in state.items():
        for old, new in OLD_NAMES:
            key = old.sub(new, key)
        found[key] = value
    return found


def predicted_noise(network: DiffusionModelUNet, conditions: Tensor) -> Noise:
    """Return what the network says, given (B, 1, 4) conditions in [0, 1].

    They are gender, age, volume of the ventricles, volume of the brain.
    """

    def answer(z: Tensor, timesteps: Tensor) -> Tensor:
        planes = conditions[:, 0, :, None, None, None].expand(-1, -1, *z.shape[2:])
        return network(torch.cat([z, planes], 1), timesteps, context=conditions)

    return answer


def answer(network: DiffusionModelUNet, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
    """Return what a network of `unet` says, given its embedded time.

    Args:
        network: MONAI's.
        x: (B, latent and planes, d, h, w).
        time: (B, 4 * channels[0]), of the network's `time_embed`.
        context: (B, 1, conditions).
    """
    h = network.conv_in(x)
    skips = [h]
    for block in network.down_blocks:
        h, outputs = block(hidden_states=h, temb=time, context=context)
        skips += outputs
    h = network.middle_block(hidden_states=h, temb=time, context=context)
    for block in network.up_blocks:
        used = len(list(block.get_submodule("resnets").children()))
        h = block(hidden_states=h, res_hidden_states_list=skips[-used:], temb=time, context=context)
        del skips[-used:]
    answered: Tensor = network.out(h)
    return answered


def sampling_times(steps: int) -> Tensor:
    """Return the `steps` + 1 times of their DDIM as our process counts them, float64.

    Their timesteps are multiples of 1000 // steps from 0: for 50 steps 980, 960, ..., 20, 0. Ours
    are one higher, for time 0 is data; the last step goes there.
    """
    timesteps = torch.arange(steps).flip(0) * (PROCESS.timesteps // steps)
    return torch.cat([timesteps + 1, torch.zeros(1)]).double() / PROCESS.timesteps


def sampled(noise: Noise, start: Tensor, times: Tensor) -> Tensor:
    """Return the latent that deterministic DDIM makes of `start`, unit noise (B, 3, d, h, w).

    Args:
        noise: what the network says.
        start: at times[0].
        times: from `sampling_times`.
    """

    def clean(z: Tensor, t: float) -> Tensor:
        timestep = round(t * PROCESS.timesteps) - 1
        answer = noise(z, torch.full((len(z),), timestep, device=z.device))
        return ddpm.clean(answer, z, z.new_full((len(z),), t), PROCESS)

    return ddim(clean, start, times, ddpm.levels(times, PROCESS), 0.0, _draws_nothing)


def _draws_nothing(step: int) -> Tensor:
    raise AssertionError("DDIM without eta draws no noise")


def saved(volume: Tensor) -> Tensor:
    """Return what their saver makes of a decoded volume (..., D, H, W): cropped, from 0 to 1.

    It then multiplies by 255 and cuts the fractions off, which is left out here.
    """
    cropped = volume[..., CROP[0], CROP[1], CROP[2]]
    low, high = cropped.amin(), cropped.amax()
    return (cropped - low) / (high - low)
