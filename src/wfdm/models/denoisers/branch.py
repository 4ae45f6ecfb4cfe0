"""What is trained beside a frozen denoiser: a control branch, and a direct path where asked."""

from torch import Tensor, nn

from wfdm.config.denoisers import UNetSettings
from wfdm.data.table import MODALITIES
from wfdm.models.denoisers.control import ControlNet, Residuals
from wfdm.models.denoisers.direct import Direct
from wfdm.models.denoisers.sources import Sources
from wfdm.models.denoisers.unet import Denoiser, fold


class Branch(nn.Module):
    """A control branch, and with `direct_channels` a path that passes by the denoiser.

    The flags that tell the authors' branch which scans are synthetic tell this one which are
    there. All its outputs start as zero. Weights are drawn from torch's global generator.

    Args:
        settings: of the denoiser's network.
        latent_channels: C of its latents.
        condition_channels: inside the condition's embedding.
        direct_channels: of the direct path; 0: none, as published.
    """

    def __init__(
        self,
        settings: UNetSettings,
        latent_channels: int,
        condition_channels: int,
        direct_channels: int = 0,
    ) -> None:
        super().__init__()
        self.patch = settings.patch
        folded = latent_channels * settings.patch**3
        scans = len(MODALITIES)
        self.control = ControlNet(settings, folded, scans * (folded + 1), condition_channels)
        self.direct: Direct | None = None
        if direct_channels:
            self.direct = Direct(
                channels=direct_channels,
                control_channels=scans * (latent_channels + 1),
                latent_channels=latent_channels,
                embedding=8 * settings.channels[0],
                norm_groups=settings.norm_groups,
            )

    def start_as(self, denoiser: Denoiser) -> None:
        """Take over the denoiser's weights where the control branch has the same."""
        self.control.start_as(denoiser)

    def forward(
        self, z: Tensor, t: Tensor, modality: Tensor, sources: Sources
    ) -> tuple[Residuals, Tensor | None]:
        """Return the control branch's residuals, and what is added to the answer.

        Args:
            z: (B, C, d, h, w) noisy latents.
            t: (B,) times.
            modality: (B,) long, index into MODALITIES of what is made.
            sources: of each item.
        """
        return self.added(z, self.control.condition(t, modality, sources.there), sources)

    def added(
        self, z: Tensor, embedding: Tensor, sources: Sources
    ) -> tuple[Residuals, Tensor | None]:
        """Return what `forward` does, given what `ControlNet.condition` returns."""
        control = sources.control(self.patch)
        residuals = self.control.residuals(fold(z, self.patch), embedding, control)
        if self.direct is None:
            return residuals, None
        return residuals, self.direct(sources.control(1), embedding)
