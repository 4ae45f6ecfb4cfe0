"""Gradient checkpointing inside levels: block by block, not the whole encoder or decoder."""

from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from wfdm.errors import UserError
from wfdm.models.compressors.base import Compressor


def checkpoint_blocks(model: Compressor) -> None:
    """Let every block of the classes `model.blocks` keep only its input for the backward pass.

    What the block computed is computed again when its gradients are due: the result is the same,
    bit for bit on a CPU. Outermost blocks only; a block inside another is recomputed with it.

    Raises:
        UserError: the compressor names no blocks.
    """
    chosen = [module for module in model.modules() if isinstance(module, model.blocks)]
    inner = {child for module in chosen for child in module.modules() if child is not module}
    if not chosen:
        raise UserError(
            f"training.checkpointing: {type(model).__name__} names no blocks; set it to false or "
            "list the classes of its blocks in the attribute `blocks`"
        )
    for module in chosen:
        if module not in inner:
            # A bound method, so that a deep copy of the model calls its own blocks.
            module.forward = MethodType(_recomputed, module)


def _recomputed(block: nn.Module, *inputs: Any) -> Any:
    plain = type(block).forward
    if not torch.is_grad_enabled():
        return plain(block, *inputs)
    return checkpoint(plain, block, *inputs, use_reentrant=False)
