"""Many plans at once: Snakemake starts one time and is forked for each of them.

Of a plan's 6 seconds 4 go into importing Snakemake and the libraries that the rules use. This
program has them imported, and each fork then runs the same command as a user, in the study's
folder and with the study's own code, of which nothing is imported before.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

PRELOADED = ("numpy", "pandas", "pandera.pandas", "pydantic", "ruamel.yaml", "requests", "pooch")
PACKAGE = "wfdm"


def printed(commands: Sequence[tuple[Path, Mapping[str, str], Sequence[str]]]) -> list[str]:
    """What each Snakemake command prints; a command is a folder, an environment, arguments.

    One that fails, fails the test.
    """
    asked = [[str(folder), dict(env), list(given)] for folder, env, given in commands]
    with tempfile.TemporaryDirectory() as outputs:
        done = subprocess.run(
            [sys.executable, __file__, outputs],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        texts = [Path(outputs, str(number)).read_text() for number in range(len(asked))]
    codes = json.loads(done.stdout)
    assert not any(codes), [text[-6000:] for text, code in zip(texts, codes, strict=True) if code]
    return texts


def main(outputs: str) -> None:
    """Run the commands given on standard input, as many at a time as there are cores."""
    from importlib import import_module

    from snakemake.cli import get_argument_parser

    get_argument_parser()  # finds the plugins
    for name in PRELOADED:
        import_module(name)
    assert PACKAGE not in sys.modules, "each plan imports its own"

    asked = json.load(sys.stdin)
    codes, working = [0] * len(asked), {}
    for number, command in enumerate(asked):
        if len(working) == len(os.sched_getaffinity(0)):
            _wait(working, codes)
        process = os.fork()
        if process == 0:
            _run(*command, Path(outputs, str(number)))
        working[process] = number
    while working:
        _wait(working, codes)
    print(json.dumps(codes))


def _wait(working: dict[int, int], codes: list[int]) -> None:
    process, status = os.wait()
    codes[working.pop(process)] = os.waitstatus_to_exitcode(status)


def _run(folder: str, environment: dict[str, str], arguments: list[str], out: Path) -> NoReturn:
    """In a process of its own: what `snakemake ARGUMENTS` would do in the folder."""
    from snakemake.cli import main as snakemake

    code = 1
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = ""  # the folder itself, as for `python -m snakemake`
        sys.path[1:1] = environment["PYTHONPATH"].split(os.pathsep)
        target = os.open(out, os.O_WRONLY | os.O_CREAT)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(target, stream.fileno())
        snakemake(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
