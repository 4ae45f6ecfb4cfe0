"""Files appear whole or not at all, and are made by one process at a time."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wfdm.errors import UserError
from wfdm.log import log

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# Of one training on several devices, the first process holds the lock for all.
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


@contextmanager
def named(path: Path | str) -> Iterator[None]:
    """Note `path` on any error of the block: that a disk is full comes without a file's name."""
    try:
        yield
    except BaseException as error:
        error.add_note(str(path))
        raise


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it onto `target` when the block succeeds.

    The temporary name keeps the target's suffixes (writers such as nibabel choose their format
    by them), is this process's own, and is removed when the block raises. Parent folders are made.
    """
    target = Path(target)
    with named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=".partial-", suffix=f"-{target.name}", dir=target.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _check_written(temporary)
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _check_written(path: Path) -> None:
    """Raise what a library kept to itself: on a full disk ITK writes nothing, and says nothing."""
    if path.stat().st_size == 0:
        with open(path, "r+b", buffering=0) as stream:
            stream.write(b"?")
            stream.truncate(0)


def write_text(target: Path | str, text: str) -> None:
    """Write `text` (UTF-8) to `target` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Keep other processes from making `target` meanwhile; the lock ends with this process.

    The lock is a file beside `target`. Processes that this one starts do not hold it, so a killed
    job never blocks the next one.

    Raises:
        UserError: another process is making `target`.
    """
    if any(os.environ.get(name, "0") != "0" for name in RANKS):
        yield
        return
    path = target.with_name(f".lock-{target.name}")
    while True:
        with named(target):
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = open(path, "w")  # noqa: SIM115 (closed below)
        with stream:
            _lock(stream.fileno(), target)
            if os.fstat(stream.fileno()).st_nlink == 0:
                continue  # the one before removed it in this very moment
            try:
                yield
                return
            finally:
                path.unlink(missing_ok=True)


def _lock(file: int, target: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise UserError(
            f"{target}: another process is making it; wait for that one, or end it, and run again"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning(
            f"{target}: its file system has no locks; see that no second process makes it too"
        )
