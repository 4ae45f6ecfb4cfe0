"""A frozen denoiser that is told other scans of the same head (Zhang et al. 2023).

One branch knows every non-empty subset of a session's modalities: each has its place on the channel
axis, zero where there is no scan, and a mask says which are there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, cat, nn

from wfdm.config.denoisers import UNetSettings
from wfdm.data.table import MODALITIES, MODALITY_IDS
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.control import ControlNet
from wfdm.models.denoisers.network import Network
from wfdm.models.denoisers.unet import Denoiser, fold


@dataclass(frozen=True)
class Sources:
    """The scans that are there, of each item of a batch.

    Attributes:
        latents: (B, 4, C, d, h, w) as the denoiser sees them, by the modality's number; 0 where
            there is none.
        there: (B, 4) 1 where there is one.
    """

    latents: Tensor
    there: Tensor

    @classmethod
    def of(cls, given: Mapping[str, Tensor]) -> "Sources":
        """Return a batch of one from the latents (C, d, h, w) by modality, of which one at least.

        Raises:
            ValueError: there is none.
        """
        if not given:
            raise ValueError("there is no source")
        some = next(iter(given.values()))
        latents = some.new_zeros(len(MODALITIES), *some.shape)
        there = some.new_zeros(len(MODALITIES))
        for modality, latent in given.items():
            latents[MODALITY_IDS[modality]] = latent
            there[MODALITY_IDS[modality]] = 1
        return cls(latents[None], there[None])

    def control(self, patch: int) -> Tensor:
        """Return what a branch takes: the folded latents, then a plane of the mask for each.

        Args:
            patch: voxels a side that the denoiser folds into channels.

        Returns:
            (B, 4 C patch^3 + 4, d, h, w) of the folded sides; a latent without a scan is 0, also
            where `latents` holds something.
        """
        there = self.there[:, :, None, None, None]
        latents = self.latents * there[..., None]
        folded = fold(latents.flatten(1, 2), patch)
        return cat([folded, there.expand(-1, -1, *folded.shape[2:])], dim=1)


def new_branch(settings: UNetSettings, latent_channels: int, condition_channels: int) -> ControlNet:
    """Return a branch for a denoiser; weights are drawn from torch's global generator.

    Args:
        settings: of the denoiser's network.
        latent_channels: C of its latents.
        condition_channels: inside the condition's embedding.
    """
    folded = latent_channels * settings.patch**3
    control = len(MODALITIES) * (folded + 1)
    return ControlNet(settings, folded, control, condition_channels)


class Controlled(Network):
    """A denoiser with its branch, for one item's sources: asked like any denoiser.

    The flags that tell the authors' branch which scans are synthetic tell this one which are there.
    A fresh branch changes no bit of the denoiser's answer.

    Args:
        denoiser: frozen.
        branch: of `new_branch`, trained or fresh.
        sources: of the item, a batch of one; every latent that is asked about has them.
    """

    there: Tensor
    control: Tensor

    def __init__(self, denoiser: Denoiser, branch: ControlNet, sources: Sources) -> None:
        super().__init__()
        self.denoiser, self.branch = denoiser, branch
        self.patch, self.width = denoiser.settings.patch, denoiser.width
        self.register_buffer("there", sources.there, persistent=False)
        self.register_buffer("control", sources.control(self.patch), persistent=False)

    def condition(self, t: Tensor, conditions: Conditions) -> Tensor:
        """Return the branch's vector, then the denoiser's, for each item."""
        there = self.there.expand(len(t), -1)
        own = self.branch.condition(t, conditions.modality, there)
        return cat([own, self.denoiser.condition(t, conditions)], dim=1)

    def answer(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Return the denoiser's answer to z, given what `condition` returns."""
        own, embedding = embedding.tensor_split([self.width], dim=1)
        control = self.control.expand(len(z), *[-1] * 4)
        residuals = self.branch.residuals(fold(z, self.patch), own, control)
        return self.denoiser.answer(z, embedding, residuals)


def answers(
    denoiser: Denoiser,
    branch: nn.Module,
    z: Tensor,
    t: Tensor,
    conditions: Conditions,
    sources: Sources,
) -> Tensor:
    """Return the answers to a batch in which each item has its own sources, as in training.

    Args:
        denoiser: frozen; a gradient passes through it.
        branch: a `ControlNet`, or what a training has wrapped it in.
        z: (B, C, d, h, w) noisy latents.
        t: (B,) times.
        conditions: of each item.
        sources: of each item.
    """
    patch = denoiser.settings.patch
    given = (conditions.modality, sources.control(patch), sources.there)
    answer: Tensor = denoiser(z, t, conditions, branch(fold(z, patch), t, *given))
    return answer
