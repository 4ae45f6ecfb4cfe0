"""The noise that a latent generator starts from, and adds on its way: each item's is its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wfdm.seeds import seed_for, torch_generator

Shape = tuple[int, int, int, int]


def start_noise(shape: Shape, name: str, item: str, seed: int) -> Tensor:
    """Return z_1 of one item, float32 of the latent's shape (C, d, h, w), on the CPU.

    It is unit noise from the item's own generator, named by (seed, "sample", name, item): it
    depends on neither device, order nor the other items.
    """
    own = torch_generator(seed_for(seed, "sample", name, item))
    return torch.randn(shape, generator=own)


def step_noise(shape: Shape, name: str, items: Sequence[str], seed: int, step: int) -> Tensor:
    """Return the unit noise of one step of a sampler, float32 (B, C, d, h, w), on the CPU.

    Each item's is its own generator's, named as its `start_noise` and by the step: it depends on
    neither the batch nor the steps before.
    """
    owns = (torch_generator(seed_for(seed, "sample", name, item, "step", step)) for item in items)
    return torch.stack([torch.randn(shape, generator=own) for own in owns])
