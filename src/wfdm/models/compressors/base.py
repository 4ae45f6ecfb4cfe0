"""What the rest of the study asks of a compressor, learned or fixed."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from wfdm.config.compressors import Architecture
from wfdm.errors import UserError

Losses = dict[str, Tensor]


class Compressor(nn.Module):
    """A module between volumes (B, 1, D, H, W) and their latents.

    A subclass defines `factor`, `encode` and `decode`, and also `forward` if it can be trained and
    is not a `VariationalCompressor`.

    Attributes:
        factor: f, by which each side of a latent is smaller than the volume's.
        blocks: classes of the inner blocks that gradient checkpointing recomputes.
    """

    factor: int
    blocks: ClassVar[tuple[type[nn.Module], ...]] = ()

    def __init__(self, settings: Architecture) -> None:
        super().__init__()
        self.settings = settings

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latent's mean and standard deviation, (B, C, D/f, H/f, W/f) each.

        Raises:
            UserError: a side of `v` is not a multiple of the factor f.
        """
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Return the volumes of the latents `z`, unbounded."""
        raise NotImplementedError

    def forward(self, v: Tensor, generator: torch.Generator) -> tuple[Tensor, Losses]:
        """Return the reconstruction in training, and the latent's own loss terms by name.

        The names are those that have a weight in the training settings: "kl", "commitment".

        Args:
            v: (B, 1, D, H, W).
            generator: source of all random draws.
        """
        raise NotImplementedError

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Load weights that have the names their authors gave them.

        Raises:
            RuntimeError: names or sizes do not fit.
        """
        self.load_state_dict(weights)

    def shown_by(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Return the settings that published weights show by their shapes: here none, its own stay.

        Raises:
            KeyError: they are of another model.
        """
        return self.settings

    def check_divides(self, v: Tensor) -> None:
        """Raise UserError unless every side of the volumes `v` is a multiple of the factor."""
        if any(size % self.factor for size in v.shape[2:]):
            raise UserError(
                f"a volume of {'x'.join(map(str, v.shape[2:]))} voxels cannot be compressed: every "
                f"side must be a multiple of {self.factor}; change volume.shape"
            )


class VariationalCompressor(Compressor):
    """A compressor whose encoder gives a Gaussian posterior q(z | v) (paper, 2.5.1)."""

    def forward(self, v: Tensor, generator: torch.Generator) -> tuple[Tensor, Losses]:
        """Return the reconstruction of z = mean + std * noise, and the KL term."""
        mean, std = self.encode(v)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return self.decode(mean + std * noise), {"kl": kl(mean, std)}


def kl(mean: Tensor, std: Tensor) -> Tensor:
    """Return D_KL(q || N(0, I)), summed over the latent's elements, averaged over the batch.

    1/2 sum(mean^2 + std^2 - log std^2 - 1); as a sum it is large, hence weights around 1e-7.
    """
    mean, variance = mean.float(), std.float().square()
    terms = mean.square() + variance - torch.log(variance + 1e-10) - 1
    return 0.5 * terms.flatten(1).sum(1).mean()
