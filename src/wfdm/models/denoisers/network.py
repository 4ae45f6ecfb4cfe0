"""What the rest of the study asks of a denoiser's network, whichever it is."""

from torch import Tensor, nn

from wfdm.models.denoisers.conditions import Conditions


class Network(nn.Module):
    """A module that answers noisy latents, given their times and conditions.

    A subclass takes (settings, latent_shape, schema), and defines `condition` and `answer`: a
    sampler embeds all its times at once, in float32, and then asks step by step.
    """

    def condition(self, t: Tensor, conditions: Conditions) -> Tensor:
        """Return one vector for each item, (B, width).

        Args:
            t: (B,) float time in [0, 1]; 0 is data, 1 is noise.
            conditions: modality and metadata of each item.
        """
        raise NotImplementedError

    def answer(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Return the answer to z (B, C, d, h, w), shaped as it, given what `condition` returns."""
        raise NotImplementedError

    def forward(self, z: Tensor, t: Tensor, conditions: Conditions) -> Tensor:
        """Return the answer to z at times t under the conditions."""
        return self.answer(z, self.condition(t, conditions))
