"""The command line: every stage as a command, errors in one line."""

import os
import sys
from typing import NoReturn

import typer

from wfdm import __version__, accelerator
from wfdm.cli.commands import add_stages
from wfdm.errors import UserError, of_files, one_line
from wfdm.log import start_logging

app = typer.Typer(
    name="wfdm",
    help="Wavelet-fusion latent diffusion for multimodal brain MRI, stage by stage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 110},
)
add_stages(app)


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, help="Print the version."),
    gpus: int | None = typer.Option(
        None, min=0, envvar="WFDM_GPUS", help="How many GPUs to use; by default all that are there."
    ),
) -> None:
    start_logging()
    if gpus is not None:
        accelerator.use(gpus)
    # One thread per registration: results must not depend on the machine.
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    # A waiting thread spins so often, then sleeps. Ten times as often is 6 % faster on two quiet
    # cores, but half as fast beside other processes (docs/speed.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def main() -> None:
    """Run the command line; bad input, or a fault of a disk, ends in one line and a status."""
    try:
        app()
    except UserError as error:
        _end(str(error), error.status)
    except Exception as error:
        told = of_files(error)
        if told is None:
            raise
        _end(told)


def _end(told: str, status: int = 1) -> NoReturn:
    print(f"wfdm: {one_line(told)}", file=sys.stderr)
    sys.exit(status)
