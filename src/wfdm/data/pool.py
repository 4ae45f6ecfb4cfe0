"""A pool of processes for many independent items, such as sessions.

Workers are forked from a server process that has imported, once, what all of them need; one import
takes longer than many an item. A worker's messages, warnings and whatever the libraries below it
print go to the log file of its item, so that the job's own output stays short. Workers never
outlive the job, however it ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from wfdm.errors import UserError, of_files, one_line
from wfdm.log import log, progress, start_logging

# A worker is one core's work, and its numbers are then the same on every machine. Snakemake gives
# these variables the number of the rule's threads, which are the pool's processes.
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "GOTO", "MKL", "NUMEXPR")
}
Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Item], Result],
    items: Mapping[str, Item],
    processes: int,
    log_of: Callable[[str], Path],
    what: str,
    preload: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, Result]]:
    """Yield (name, result) for every item, in the order of `items`.

    Args:
        work: from an item to its result; it, the items and the results are pickled.
        items: what to work on, by name.
        processes: items that are worked on side by side.
        log_of: from an item's name to its log file, which is written anew.
        what: name of the work, for the progress bar and for errors.
        preload: modules that are imported once for all workers.
        environment: variables that the workers start with, besides `ONE_THREAD`; those that a
            library reads when it is loaded, or the C library when a process starts, can be given
            nowhere else.

    Raises:
        UserError: a worker was killed; the items that were in the making are named.
        Exception: what `work` raised, as soon as it does; the other workers are then ended.
    """
    if not items:
        return
    others = multiprocessing.active_children()
    _start_server(preload, ONE_THREAD | dict(environment or {}))
    with _ended_by_sigterm():
        pool = ProcessPoolExecutor(
            min(processes, len(items)), multiprocessing.get_context("forkserver"), _begin
        )
        try:
            finished = _as_finished(pool, work, items, processes, log_of)
            yield from _in_order(items, progress(finished, what, len(items)))
        except BaseException:
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _start_server(preload: Sequence[str], environment: Mapping[str, str]) -> None:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    multiprocessing.set_forkserver_preload(list(preload))
    forkserver.ensure_running()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM, which would leave the workers alone, into an exception that ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _as_finished(
    pool: ProcessPoolExecutor,
    work: Callable[[Item], Result],
    items: Mapping[str, Item],
    processes: int,
    log_of: Callable[[str], Path],
) -> Iterator[tuple[str, Result]]:
    """Yield (name, result) as they come; no more than `processes` items are handed out at a time.

    So what is handed out is what is in the making.
    """
    waiting = iter(items.items())
    making: dict[Future[Result], str] = {}

    def hand_out() -> None:
        for name, item in waiting:
            making[pool.submit(_one, work, item, log_of(name))] = name
            return

    try:
        for _ in range(processes):
            hand_out()
        while making:
            done, _ = wait(making, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                name = making.pop(future)
                hand_out()
                yield name, result
    except BrokenProcessPool as error:
        names = sorted(making.values())
        raise UserError(
            f"a process was killed, or crashed, while {', '.join(names)} "
            f"{'was' if len(names) == 1 else 'were'} in the making (see {log_of(names[0])}); "
            "what is finished is kept: run again, where memory ran out with fewer processes"
        ) from error


def _in_order(
    items: Iterable[str], finished: Iterable[tuple[str, Result]]
) -> Iterator[tuple[str, Result]]:
    waiting = iter(items)
    following = next(waiting, None)
    done: dict[str, Result] = {}
    for name, result in finished:
        done[name] = result
        while following in done:
            yield following, done.pop(following)
            following = next(waiting, None)


def _begin() -> None:
    """Prepare a worker: it leaves Ctrl-C to the job, and ends when the job does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_job, daemon=True).start()
    start_logging()


def _end_with_the_job() -> None:
    job = multiprocessing.parent_process()
    assert job is not None
    job.join()
    os._exit(1)


def _one(work: Callable[[Item], Result], item: Item, path: Path) -> Result:
    # Entering the context makes Python give a warning again that it gave for an earlier item.
    with _told_to(path), warnings.catch_warnings():
        try:
            return work(item)
        except UserError as error:
            log.error(f"wfdm: {one_line(str(error))}")
            raise
        except Exception as error:
            if told := of_files(error):
                log.error(f"wfdm: {told}")
            else:
                log.exception("this is a fault of the program:")
            raise


@contextmanager
def _told_to(path: Path) -> Iterator[None]:
    """Send everything that this process prints, C libraries included, to the file at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before: list[tuple[Any, int, int]] = []
    with open(path, "w", encoding="utf-8") as stream:
        for printed in (sys.stdout, sys.stderr):
            printed.flush()
            number = printed.fileno()
            before.append((printed, number, os.dup(number)))
            os.dup2(stream.fileno(), number)
    try:
        yield
    finally:
        for printed, number, copy in before:
            printed.flush()
            os.dup2(copy, number)
            os.close(copy)
