"""The batches of a training: drawn by the step's number, here or in loading processes."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from wfdm.errors import UserError
from wfdm.seeds import generator_for

Batch = dict[str, Tensor]


class Draws(Protocol):
    """Training data without state: an item is a function of the generator it is drawn with."""

    def draw(self, rng: np.random.Generator) -> Batch:
        """Return one item, CPU tensors without a batch axis."""
        ...


class _Steps(Dataset):
    """Map a step's number to this device's share of its batch."""

    def __init__(self, data: Draws, seed: int, name: str, items: range) -> None:
        self.data, self.seed, self.name, self.items = data, seed, name, items

    def __getitem__(self, step: int) -> Batch | Exception:
        """Return the batch, or what is wrong with it: raised here it would come as a traceback."""
        draws = (generator_for(self.seed, "train", self.name, step, item) for item in self.items)
        try:
            return default_collate([self.data.draw(rng) for rng in draws])
        except (UserError, OSError) as error:
            return error


def batches(
    data: Draws, seed: int, name: str, items: range, steps: range, workers: int
) -> Iterator[Batch]:
    """Yield the batch of every step.

    Args:
        data: what is drawn from.
        seed: the study's.
        name: of what is trained.
        items: numbers of this device's items in a batch.
        steps: numbers of the steps.
        workers: loading processes; 0 loads in this one.

    Raises:
        UserError: an item cannot be had, or a loading process was killed.
    """
    dataset = _Steps(data, seed, name, items)
    # batch_size=None: the dataset makes whole batches, and the sampler is just the step numbers.
    loader = DataLoader(dataset, batch_size=None, sampler=steps, num_workers=workers)
    waiting = iter(loader)
    while True:
        try:
            batch = next(waiting)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                f"{name}: a loading process was killed, or crashed; run again, where memory ran "
                "out with fewer workers"
            ) from error
        if isinstance(batch, Exception):
            raise batch
        yield batch
