"""Judging a training on its validation items, spread over the devices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor

if TYPE_CHECKING:
    from wfdm.training.loop import Objective, Run


def judged(fabric: Fabric, objective: Objective, run: Run) -> dict[str, float]:
    """Return the mean of each of the objective's columns over the items that have it."""
    modes = {name: module.training for name, module in objective.modules.items()}
    for module in objective.modules.values():
        module.eval()
    mine = range(fabric.global_rank, objective.validation_size, fabric.world_size)
    with torch.no_grad():
        found = [objective.validate(run, index) for index in mine]
    for name, module in objective.modules.items():
        module.train(modes[name])
    values = [[each[name] for each in found if name in each] for name in objective.columns]
    sums = [[math.fsum(column), len(column)] for column in values]
    total = over_devices(fabric, torch.tensor(sums, device=fabric.device), "sum").tolist()
    return {name: sum_ / n for name, (sum_, n) in zip(objective.columns, total, strict=True)}


def over_devices(fabric: Fabric, value: Tensor, operation: Literal["mean", "sum"]) -> Tensor:
    """Return the sum or mean of every device's `value`, shaped as it is."""
    reduced = fabric.all_reduce(value, reduce_op=operation)
    assert isinstance(reduced, Tensor)
    return reduced
