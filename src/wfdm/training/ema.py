"""An exponential moving average of a model's weights."""

import torch
from torch import nn


def warmed_decay(decay: float, updates: int) -> float:
    """Return the decay of update number `updates` (from 0): min(decay, (1 + n) / (10 + n)).

    With a fixed decay of 0.9999 the random initial weights would keep a share of 0.9999 ** n,
    still 37 % after 10,000 updates. With the warm-up the average spans about the last tenth of a
    training until `decay` is reached, so it is meaningful after a short training too.
    """
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the weights of `average` towards those of `model`: a <- decay a + (1 - decay) m.

    Buffers are copied. Both modules have the same structure; `average` keeps its own dtype.
    """
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new.to(kept), 1 - decay)
    for buffer, source in zip(average.buffers(), model.buffers(), strict=True):
        buffer.copy_(source)
