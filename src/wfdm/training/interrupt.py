"""Signals that ask a training to stop: it keeps its state first, and continues when run again.

A scheduler sends SIGUSR1 when the time of a job is nearly over (`--signal` of sbatch), SIGTERM when
it takes a job away; a person sends SIGINT (Ctrl-C).
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from lightning_fabric import Fabric

from wfdm.errors import UserError

HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StoppedError(UserError):
    """A training stopped because it was asked to; `status` is 128 + the signal, as in a shell."""

    def __init__(self, name: str, number: int, step: int) -> None:
        who = signal.Signals(number).name
        super().__init__(f"{name}: stopped by {who}; run it again to continue after step {step}")
        self.status = 128 + number


class Stop:
    """Whether a signal came: its number, or 0."""

    signal = 0

    def asked(self, fabric: Fabric) -> int:
        """Return the signal that asked to stop, on whichever device; 0 when none did."""
        if fabric.world_size == 1:
            return self.signal
        came = fabric.all_reduce(
            torch.tensor(float(self.signal > 0), device=fabric.device), reduce_op="sum"
        )
        return (self.signal or signal.SIGTERM) if bool(came) else 0


@contextmanager
def heeded() -> Iterator[Stop]:
    """Note signals instead of dying of them, as long as this lasts.

    Only the first: the second one of a kind does what it always did, for a person who cannot wait.
    Outside the main thread, where Python takes no signals, nothing changes.
    """
    stop = Stop()
    before = {}

    def note(number: int, _: FrameType | None) -> None:
        stop.signal = stop.signal or number
        signal.signal(number, signal.SIG_DFL)

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in HEEDED}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
