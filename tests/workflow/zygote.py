"""Runs `wfdm` commands, each in a child of one process that has imported what most of them need.

So a command costs its own work only. A request is a line of JSON, its arguments; the answer is
[exit status, what it printed].
"""

import contextlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import wfdm


class Zygote:
    """The other end: starts the process, and asks."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
        )

    def run(self, arguments: list[str]) -> tuple[int, str]:
        """Run one command; returns its exit status and what it printed."""
        print(json.dumps(arguments), file=self.process.stdin, flush=True)
        code, told = json.loads(self.process.stdout.readline())
        return code, told

    def close(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait()


def child(arguments: list[str], told: int) -> None:
    """Run the command in this process, which ends with it; what it starts is in its group."""
    os.setpgid(0, 0)
    for stream in (1, 2):
        os.dup2(told, stream)
    sys.argv = ["wfdm", *arguments]
    code = 0
    try:
        import_module("wfdm.cli").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    os._exit(code)


def answer(arguments: list[str]) -> tuple[int, str]:
    """Run one request in a child, and wait for it."""
    with tempfile.TemporaryFile() as told:
        number = os.fork()
        if number == 0:
            child(arguments, told.fileno())
        _, status = os.waitpid(number, 0)
        told.seek(0)
        text = told.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(status), text


def import_all() -> None:
    """Import every module of the package that this environment can import."""
    for each in pkgutil.walk_packages(wfdm.__path__, "wfdm."):
        with contextlib.suppress(ImportError):
            import_module(each.name)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing else is said there
    import_all()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
