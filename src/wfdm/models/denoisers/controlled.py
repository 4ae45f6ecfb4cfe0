"""A frozen denoiser with a branch beside it, which tells it the scans that are there.

One branch serves every non-empty subset of a session's modalities: each has its place on the
channel axis, zero where there is no scan, and a mask says which are there.
"""

from torch import Tensor, cat, nn

from wfdm.models.denoisers.branch import Branch
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.network import Network
from wfdm.models.denoisers.sources import Sources
from wfdm.models.denoisers.unet import Denoiser


class Controlled(Network):
    """A denoiser with its branch, for one item's sources: asked like any denoiser.

    A fresh branch changes no bit of the denoiser's answer.

    Args:
        denoiser: frozen.
        branch: trained or fresh.
        sources: of the item, a batch of one; every latent that is asked about has them.
    """

    there: Tensor
    latents: Tensor

    def __init__(self, denoiser: Denoiser, branch: Branch, sources: Sources) -> None:
        super().__init__()
        self.denoiser, self.branch, self.width = denoiser, branch, denoiser.width
        self.register_buffer("there", sources.there, persistent=False)
        self.register_buffer("latents", sources.latents, persistent=False)

    def condition(self, t: Tensor, conditions: Conditions) -> Tensor:
        """Return the branch's vector, then the denoiser's, for each item."""
        there = self.there.expand(len(t), -1)
        own = self.branch.control.condition(t, conditions.modality, there)
        return cat([own, self.denoiser.condition(t, conditions)], dim=1)

    def answer(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Return the denoiser's answer to z, given what `condition` returns."""
        own, embedding = embedding.tensor_split([self.width], dim=1)
        latents, there = (
            each.expand(len(z), *each.shape[1:]) for each in (self.latents, self.there)
        )
        residuals, direct = self.branch.added(z, own, Sources(latents, there))
        answer = self.denoiser.answer(z, embedding, residuals)
        return answer if direct is None else answer + direct


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
        branch: a `Branch`, or what a training has wrapped it in.
        z: (B, C, d, h, w) noisy latents.
        t: (B,) times.
        conditions: of each item.
        sources: of each item.
    """
    residuals, direct = branch(z, t, conditions.modality, sources)
    answer: Tensor = denoiser(z, t, conditions, residuals)
    return answer if direct is None else answer + direct
