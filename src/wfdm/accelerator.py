"""Where models work: on the GPUs that a job was given, and on no other.

On a cluster the scheduler hands out GPUs and names them in CUDA_VISIBLE_DEVICES. On one machine
nobody does, so jobs take locked cards in turn and two of them never share one.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wfdm.log import log

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

VISIBLE = "CUDA_VISIBLE_DEVICES"
SCHEDULED = "SLURM_JOB_ID"
SECONDS = 1.0  # between two looks for a free card

_held: list[IO[str]] = []  # locks end with the process


def accelerator() -> torch.device:
    """Return a GPU where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use(gpus: int) -> None:
    """Make this process see `gpus` GPUs and no more; call it before anything else uses one.

    Waits until that many are free. Where the machine has fewer, it sees all of them, and a line of
    the log says so: a small study runs on a laptop by the same rules.

    Args:
        gpus: how many; 0 for the CPU alone.
    """
    if gpus and SCHEDULED in os.environ and VISIBLE in os.environ:
        return
    cards = _visible() if gpus else []
    if len(cards) < gpus:
        where = f"{len(cards)} of the {gpus} GPUs asked for" if cards else "the CPU: no GPU here"
        log.info(f"working on {where}")
    os.environ[VISIBLE] = ",".join(take(cards, min(gpus, len(cards))))


def take(cards: Sequence[str], number: int, folder: Path | None = None) -> list[str]:
    """Lock `number` of the cards, all at once, and return them; wait while too few are free.

    Args:
        cards: names as in CUDA_VISIBLE_DEVICES.
        number: at most as many as there are cards.
        folder: of the lock files; by default the machine's folder for temporary files.
    """
    waited = False
    while True:
        locks = {card: lock for card in cards if (lock := _lock(card, folder))}
        if len(locks) >= number:
            break
        for lock in locks.values():  # none is kept while waiting: two jobs could wait for ever
            lock.close()
        if not waited:
            log.info(f"waiting for {number} free GPU of {', '.join(cards)}")
        waited = True
        time.sleep(SECONDS)
    for card in list(locks)[number:]:
        locks.pop(card).close()
    _held.extend(locks.values())
    return list(locks)


def _lock(card: str, folder: Path | None) -> IO[str] | None:
    """Return the locked file of a card, or None where another process holds it."""
    path = (folder or Path(tempfile.gettempdir())) / f"wfdm-gpu-{card.replace('/', '_')}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # of another user who had another umask; reading is enough to lock
        descriptor = os.open(path, os.O_RDONLY)
    file = os.fdopen(descriptor, "r")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _visible() -> list[str]:
    """Return the names of the cards that this process may see."""
    if VISIBLE in os.environ:
        return [card for card in os.environ[VISIBLE].split(",") if card]
    import torch

    return [str(card) for card in range(torch.cuda.device_count())]
