"""WDM's network as a denoiser of the study: the conditions join the embedded time."""

from torch import Tensor, nn

from wfdm.baselines.told import LatentShape, Told, fresh_unet, steps_of
from wfdm.baselines.wdm_networks import PUBLISHED
from wfdm.config.networks import WdmNetwork
from wfdm.data.metadata import Schema
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.network import Network


class WdmDenoiser(Network):
    """WDM's U-Net of subbands; answers the data where its process asks for x0.

    Args:
        settings: levels and widths.
        latent_shape: (C, d, h, w), of `Subbands` 8 channels.
        schema: the metadata fields.
    """

    def __init__(self, settings: WdmNetwork, latent_shape: LatentShape, schema: Schema) -> None:
        super().__init__()
        self.settings, self.told = settings, Told(schema, settings.metadata)
        channels = latent_shape[0]
        self.network = fresh_unet(PUBLISHED, settings, channels, channels)
        self.label = nn.Linear(self.told.width, self.network.width, bias=False)

    def condition(self, t: Tensor, conditions: Conditions) -> Tensor:
        """Return the embedded time, and a label's embedding added to it, (B, 4 * channels[0])."""
        time = self.network.embedded(steps_of(t, self.settings))
        return time + self.label(self.told.vector(conditions))

    def answer(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Return the answer to z (B, C, d, h, w)."""
        return self.network.answer(z, embedding)
