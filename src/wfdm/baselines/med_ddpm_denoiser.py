"""Med-DDPM's network as a denoiser of the study: conditions are planes where it has a mask."""

from torch import Tensor, cat

from wfdm.baselines.med_ddpm_networks import PUBLISHED
from wfdm.baselines.told import LatentShape, Told, fresh_unet, planes, steps_of
from wfdm.config.networks import MedDdpmNetwork
from wfdm.data.metadata import Schema
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.network import Network


class MedDdpmDenoiser(Network):
    """Med-DDPM's U-Net of voxels, one modality at a time; answers the noise.

    Args:
        settings: levels and widths.
        latent_shape: (C, d, h, w), of `Voxels` 1 channel.
        schema: the metadata fields.
    """

    def __init__(self, settings: MedDdpmNetwork, latent_shape: LatentShape, schema: Schema) -> None:
        super().__init__()
        self.settings, self.told = settings, Told(schema, settings.metadata)
        channels = latent_shape[0]
        inputs = channels + self.told.width
        self.network = fresh_unet(PUBLISHED, settings, inputs, channels)

    def condition(self, t: Tensor, conditions: Conditions) -> Tensor:
        """Return the embedded time, then what is told, (B, 4 * channels[0] + what is told)."""
        time = self.network.embedded(steps_of(t, self.settings))
        return cat([time, self.told.vector(conditions)], dim=1)

    def answer(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Return the answer to z (B, C, d, h, w)."""
        time, told = embedding.tensor_split([self.network.width], dim=1)
        return self.network.answer(cat([z, planes(told, z)], dim=1), time)
