"""What a user is meant to read: bad input, and faults of the machine, in one line each."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path


class UserError(Exception):
    """Bad input or something missing, in one line: what is wrong, where, how to correct it.

    The command line prints the message without a traceback and exits with `status`.
    """

    status = 1


class SessionError(UserError):
    """The scans of one session cannot be used; the other sessions can."""


def damaged(path: Path | str, error: Exception) -> UserError:
    """Return the error of a file that was made here, and was cut short or damaged since."""
    return UserError(f"{path}: cut short or damaged ({error}): remove it and run again")


TEMPORARY = (".partial-", ".lock-")  # begin names of files of a job at work, or killed
_RIGHTS = "give this user the right to it, or name another folder, and run again"
FAULTS = {
    errno.ENOSPC: "free space and run again",
    errno.EDQUOT: "free space and run again",
    errno.EROFS: "mount it for writing, or name another folder, and run again",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EIO: "look after the disk, and run again",
    errno.ESTALE: "mount the file system again, and run again",
}
"""Faults of disks and rights, no faults of this program: what mends each of them."""
OTHERS = {
    errno.ENOENT: "correct the path, or make or fetch the file first",
    errno.ENOTDIR: "a file lies where a folder is needed: name another path",
    errno.EISDIR: "a folder lies where a file is needed: name another path",
    errno.EEXIST: "name another path, or move away what lies there",
    errno.ENAMETOOLONG: "use shorter names",
    errno.ELOOP: "its links lead in a circle: mend them",
    errno.EMFILE: "raise the limit of open files (ulimit -n), and run again",
    errno.ENFILE: "close other programs, and run again",
    errno.ENOMEM: "free memory, and run again",
}
"""What else a file system says of a path that a user gave: what mends each of them."""
_OF_RUST = re.compile(r"\(os error (\d+)\)")


def fault_of_machine(error: BaseException) -> str | None:
    """Return in one line which fault of a disk, or of rights, raised `error`; None for any other.

    The file is the one that the system names, or else the one that `wfdm.atomic` noted. Libraries
    in Rust (safetensors) tell the number of the fault in their text only; others stumble over a
    fault while they close a file, and raise something of their own on top of it.
    """
    notes: list[str] = []
    for each in _layers(error):
        notes = getattr(each, "__notes__", notes)
        found = _OF_RUST.search(str(each))
        number = each.errno if isinstance(each, OSError) else int(found[1]) if found else None
        if number in FAULTS:
            where = getattr(each, "filename", None)
            if notes and (not where or os.path.basename(where).startswith(TEMPORARY)):
                where = notes[0]
            place = f": {where}" if where else ""
            return f"{os.strerror(number)}{place}; {FAULTS[number]}"
    return None


def of_files(error: BaseException) -> str | None:
    """Return in one line what a file system, or a fault of the machine, says; None for any other.

    Unlike `fault_of_machine` it takes an error that names any path for one of the input.
    """
    if told := fault_of_machine(error):
        return told
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return f"{_reason(error)}: {_path(error.filename)}; {_remedy(error)}"
    return None


def unreadable(path: Path | str, error: OSError) -> UserError:
    """Return the error of an input that the system does not let us read."""
    reason = _reason(error)
    return UserError(f"{path}: {reason[:1].lower()}{reason[1:]}; {_remedy(error)}")


def _reason(error: OSError) -> str:
    return error.strerror or " ".join(str(error).split())


def _path(name: str | bytes | int) -> str:
    return os.fsdecode(name) if isinstance(name, str | bytes) else f"file number {name}"


def _remedy(error: OSError) -> str:
    mends = FAULTS | OTHERS
    return mends.get(error.errno or 0, "see to it, and run again")


def _layers(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those below that it was raised on top of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def one_line(text: str) -> str:
    """Return `text` with everything escaped that cannot be printed.

    Names that come with data may hold line ends, or codes that a terminal obeys.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
