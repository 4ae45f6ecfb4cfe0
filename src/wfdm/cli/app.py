"""The command line: collects the stages' commands and turns a UserError into one line."""

import os
import sys

import typer

from wfdm import __version__
from wfdm.cli import data, evaluation, models, results
from wfdm.errors import UserError

app = typer.Typer(
    name="wfdm",
    help="Wavelet-fusion latent diffusion for multimodal brain MRI, stage by stage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for commands in (data.app, models.app, results.app):
    app.registered_commands += commands.registered_commands
app.add_typer(evaluation.app, name="evaluate")
app.add_typer(results.tables, name="tables")
app.add_typer(results.figures, name="figures")


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, help="Print the version."),
) -> None:
    # One thread per registration job, whoever starts it: results must not depend on the machine.
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    # Threads that wait spin for some microseconds, then sleep: spinning on would slow a shared
    # machine down tenfold, sleeping at once costs a small model a third of its speed.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and exit status 1."""
    try:
        app()
    except UserError as error:
        print(f"wfdm: {error}", file=sys.stderr)
        sys.exit(1)
