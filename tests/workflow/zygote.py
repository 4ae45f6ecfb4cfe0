"""Runs `wfdm` commands, each in a child of one process that has imported what most of them need.

So a command costs its own work only, and it can be killed where it hurts. A request is a line of
JSON {"arguments": [...], "kill": n}: SIGKILL strikes when the n-th file is about to get its name,
or, for n = 0, when all is done but the child has not ended; null: not at all. The answer is
{"code": exit status, "told": what it printed, "renamed": how many files got their names}.
"""

import contextlib
import json
import os
import pkgutil
import signal
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

    def run(self, arguments: list[str], kill: int | None = None) -> tuple[int, str, int]:
        """Run one command; returns its exit status (negative: the signal), text, renamed files."""
        request = {"arguments": arguments, "kill": kill}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], answer["told"], answer["renamed"]

    def close(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait()


def child(arguments: list[str], kill: int | None, told: int, count: int) -> None:
    """Run the command in this process, which ends with it."""
    for stream in (1, 2):
        os.dup2(told, stream)
    rename, renamed = os.replace, 0

    def counted(*given: object, **more: object) -> None:
        nonlocal renamed
        renamed += 1
        if renamed == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*given, **more)

    os.replace = counted
    sys.argv = ["wfdm", *arguments]
    code = 0
    try:
        import_module("wfdm.cli").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if kill == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdout.flush()
    os.write(count, str(renamed).encode())
    os._exit(code)


def answer(request: dict) -> dict:
    """Run one request in a child, and wait for it."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as told:
        number = os.fork()
        if number == 0:
            child(request["arguments"], request["kill"], told.fileno(), writing)
        os.close(writing)
        _, status = os.waitpid(number, 0)
        renamed = os.read(reading, 20)
        os.close(reading)
        told.seek(0)
        text = told.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "told": text, "renamed": int(renamed or 0)}


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
