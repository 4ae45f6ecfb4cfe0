"""The published systems' networks as denoisers of the study: what they share.

Each sees what its authors' saw, except for the conditions: one vector of the modality, one-hot, and
of the metadata fields that its settings name. How it enters is each network's own.
"""

from dataclasses import replace

from torch import Tensor, cat
from torch.nn.functional import one_hot

from wfdm.baselines.diffusion_unet import Attention, Block, Shape, UNet
from wfdm.config.networks import PublishedNetwork
from wfdm.data.metadata import Schema
from wfdm.data.table import MODALITIES
from wfdm.models.blocks import quicken, start_as_nothing
from wfdm.models.denoisers.conditions import Conditions

LatentShape = tuple[int, int, int, int]


class Told:
    """What a network is told besides the time, as one vector.

    The modality one-hot, then for each field a number's z-score, or its category one-hot; zeros
    where nothing is recorded.

    Args:
        schema: the metadata fields.
        names: of those that are told.
    """

    def __init__(self, schema: Schema, names: list[str]) -> None:
        self.fields = [(i, schema.fields[i]) for i in map(schema.names.index, names)]
        self.width = len(MODALITIES) + sum(max(1, field.classes - 1) for _, field in self.fields)

    def vector(self, conditions: Conditions) -> Tensor:
        """Return (B, width), float32."""
        values = conditions.values * conditions.mask
        parts = [one_hot(conditions.modality, len(MODALITIES)).to(values.dtype)]
        for place, field in self.fields:
            if field.classes:  # class 0 is "not recorded"
                parts.append(one_hot(values[:, place].long(), field.classes)[:, 1:].to(values))
            else:
                parts.append(values[:, place : place + 1])
        return cat(parts, dim=1)


def planes(vector: Tensor, like: Tensor) -> Tensor:
    """Return a vector (B, n) as constant planes (B, n, d, h, w) of the sides of `like`."""
    return vector[..., None, None, None].expand(-1, -1, *like.shape[2:])


def steps_of(t: Tensor, settings: PublishedNetwork) -> Tensor:
    """Return the authors' step, counted from 0, of times t in [0, 1]: t T - 1, float (B,)."""
    return t * settings.timesteps - 1


def fresh_unet(published: Shape, settings: PublishedNetwork, inputs: int, outputs: int) -> UNet:
    """Return a published U-Net with the sizes of the settings, to be trained.

    It starts as Dhariwal and Nichol's does: the last layer of each block and of the whole is zero,
    so that a block changes nothing and the network answers zero.
    """
    first = settings.channels[0]
    network = UNet(
        replace(
            published,
            inputs=inputs,
            outputs=outputs,
            channels=first,
            multiples=tuple(width // first for width in settings.channels),
            blocks=settings.res_blocks,
            groups=settings.norm_groups,
        )
    )
    for part in network.modules():
        if isinstance(part, Block):
            start_as_nothing(part.out_layers[-1])
        elif isinstance(part, Attention):
            start_as_nothing(part.proj_out)
    start_as_nothing(network.out[-1])
    quicken(network)
    return network
