"""Work for the tests of the pool: its processes import this module, and little with it."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path

from wfdm.data.pool import side_by_side
from wfdm.errors import UserError
from wfdm.log import log


def talkative(item: int) -> int:
    """Say something in every way that there is; the first items take longest."""
    time.sleep(0.3 if item < 2 else 0.0)
    print(f"{item} printed")
    print(f"{item} complained", file=sys.stderr)
    os.write(2, f"{item} from a library\n".encode())
    warnings.warn("warned", stacklevel=1)
    log.info(f"{item} logged")
    return item * item


def threads(_: int) -> dict[str, str | None]:
    """Return how many threads the libraries of a worker may use."""
    libraries = ("OMP", "OPENBLAS", "GOTO", "MKL", "NUMEXPR")  # as Snakemake sets them
    return {name: os.environ.get(f"{name}_NUM_THREADS") for name in libraries}


def refusing(item: int) -> int:
    """Refuse 3 as bad input is refused, 4 as a fault of the program."""
    if item == 3:
        raise UserError("3 cannot be used; leave it out")
    if item == 4:
        raise RuntimeError("a fault")
    return item


def dying(folder: str) -> int:
    """Be killed by the system, once the other items had time to begin."""
    Path(folder).write_text("begun")
    time.sleep(0.5)
    if Path(folder).name == "c":
        os.kill(os.getpid(), signal.SIGKILL)
    if Path(folder).name == "d":
        time.sleep(600)
    return 0


def endless(path: str) -> None:
    """Leave this process's number at `path` and never end."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def endless_job(folder: Path) -> None:
    """Run two endless items side by side."""
    items = {name: str(folder / name) for name in ("one", "two")}
    list(side_by_side(endless, items, 2, lambda name: folder / f"{name}.log", "endless"))
