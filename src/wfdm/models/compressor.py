"""What the rest of the study asks of a compressor, learned or fixed."""

from torch import Tensor, nn

from wfdm.config.compressors import Architecture


class Compressor(nn.Module):
    """A module between volumes (B, 1, D, H, W) and their latents."""

    def __init__(self, settings: Architecture) -> None:
        super().__init__()
        self.settings = settings

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latent's mean and standard deviation, (B, C, D/f, H/f, W/f) each.

        Raises:
            UserError: a side of `x` is not a multiple of the factor f.
        """
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Return the volumes of the latents `z`, unbounded."""
        raise NotImplementedError
