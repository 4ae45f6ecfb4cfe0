"""A short way from the sources to the answer, which passes by the denoiser."""

from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock, zero_module
from torch import Tensor, nn

from wfdm.models.denoisers.unet import NORM_EPS, convolution


class Direct(nn.Module):
    """What is added to the answer: one residual block over the sources, then a zero convolution.

    A control branch is heard through the frozen U-Net's way up alone. One that was trained for
    minutes hears little, and folds its voxels; this path sees the latent's own. Time, modality
    and mask are injected as everywhere.

    Args:
        channels: of the path.
        control_channels: of the sources with their masks.
        latent_channels: C of the answer.
        embedding: width of what is injected.
        norm_groups: of the block.
    """

    def __init__(
        self,
        channels: int,
        control_channels: int,
        latent_channels: int,
        embedding: int,
        norm_groups: int,
    ) -> None:
        super().__init__()
        self.conv_in = convolution(control_channels, channels)
        self.block = DiffusionUNetResnetBlock(
            3, channels, embedding, out_channels=channels,
            norm_num_groups=norm_groups, norm_eps=NORM_EPS,
        )  # fmt: skip
        self.out = zero_module(convolution(channels, latent_channels))

    def forward(self, control: Tensor, embedding: Tensor) -> Tensor:
        """Return (B, C, d, h, w).

        Args:
            control: (B, control channels, d, h, w) of `Sources.control`, nothing folded.
            embedding: (B, width) of `ControlNet.condition`.
        """
        answer: Tensor = self.out(self.block(self.conv_in(control), embedding))
        return answer
