"""LDM's network as a denoiser of the study: conditions are planes, and its attention's context."""

from monai.networks.nets.diffusion_model_unet import get_timestep_embedding
from torch import Tensor, cat

from wfdm.baselines.ldm_networks import answer, unet
from wfdm.baselines.told import LatentShape, Told, planes, steps_of
from wfdm.config.networks import LdmNetwork
from wfdm.data.metadata import Schema
from wfdm.models.blocks import quicken
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.network import Network


class LdmDenoiser(Network):
    """LDM's U-Net, MONAI's; answers the noise of a latent.

    Args:
        settings: levels and widths.
        latent_shape: (C, d, h, w) of the latents.
        schema: the metadata fields.
    """

    def __init__(self, settings: LdmNetwork, latent_shape: LatentShape, schema: Schema) -> None:
        super().__init__()
        self.settings, self.told = settings, Told(schema, settings.metadata)
        self.width = 4 * settings.channels[0]
        self.network = unet(
            settings.channels,
            settings.res_blocks,
            settings.norm_groups,
            latent_shape[0],
            self.told.width,
        )
        quicken(self)

    def condition(self, t: Tensor, conditions: Conditions) -> Tensor:
        """Return the embedded time, then what is told, (B, 4 * channels[0] + what is told)."""
        steps = steps_of(t, self.settings)
        sinusoids = get_timestep_embedding(steps, self.settings.channels[0])
        return cat([self.network.time_embed(sinusoids), self.told.vector(conditions)], dim=1)

    def answer(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Return the answer to z (B, C, d, h, w)."""
        time, told = embedding.tensor_split([self.width], dim=1)
        given = cat([z, planes(told, z)], dim=1)
        return answer(self.network, given, time, told[:, None])
