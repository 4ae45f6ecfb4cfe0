"""Kills a job right before or right after it gives a file its final name.

Python imports this module by itself where its folder is on PYTHONPATH: in a job and in whatever
Python processes that job starts. Each run of a job is killed at the first moment that is not in the
file RENAMES_DRILLED yet, so run after run is killed a little later, until one meets no new moment.
A moment is: before or after, which kind of file, and the how manyth of its kind.
"""

import fcntl
import os
import re
import signal
from collections import Counter

ALIKE = re.compile(r"(sub|ses|run)-[A-Za-z0-9]+_|T1w|T2w|T1Gd|FLAIR|[0-9]+")
OFTEN = 3  # of one kind: a training has as many checks
counted: Counter[str] = Counter()


def kind(name):
    """Return the kind of a file: those of two sessions, modalities, shards or tables are alike."""
    return ALIKE.sub("*", name)


def watched(rename):
    """Return `os.rename` or `os.replace` with a moment before it and one after it."""

    def call(source, target, **more):
        mine = kind(os.path.basename(os.fspath(target)))
        counted[mine] += 1
        inside = os.path.abspath(target).startswith(os.environ["RENAMES_ROOT"])
        if not inside or counted[mine] > OFTEN:
            return rename(source, target, **more)
        reach(f"before {mine} {counted[mine]}")
        done = rename(source, target, **more)
        reach(f"after {mine} {counted[mine]}")
        return done

    return call


def reach(moment: str) -> None:
    """Kill the whole job where it was not killed at this moment yet."""
    with open(os.environ["RENAMES_DRILLED"], "a+") as drilled:
        fcntl.flock(drilled, fcntl.LOCK_EX)
        drilled.seek(0)
        if moment not in drilled.read().splitlines():
            drilled.write(f"{moment}\n")
            drilled.flush()
            os.killpg(0, signal.SIGKILL)


if "RENAMES_DRILLED" in os.environ:
    os.rename, os.replace = watched(os.rename), watched(os.replace)
