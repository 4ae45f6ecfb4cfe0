"""Commands out of stages: the signature of `run` says what is given, its module what it does."""

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin

import typer

from wfdm import stages
from wfdm.stages.arguments import Positional

SETTINGS = Annotated[str, typer.Option(help="The stage's settings: JSON, or a JSON file.")]


def stage_modules() -> dict[str, ModuleType]:
    """Return every module of `wfdm.stages` that can run, by its command's name."""
    found = {}
    for each in pkgutil.iter_modules(stages.__path__):
        module = import_module(f"wfdm.stages.{each.name}")
        if hasattr(module, "run"):
            found[each.name.replace("_", "-")] = module
    return found


def add_stages(app: typer.Typer) -> None:
    """Add a command for every stage to `app`."""
    for name, module in stage_modules().items():
        help_text = inspect.cleandoc(module.__doc__ or "")
        app.command(name, help=help_text)(_command(module))


def _command(module: ModuleType) -> Callable[..., None]:
    """Return `run` with its settings as text and every argument as an option."""
    signature = inspect.signature(module.run, eval_str=True)
    parameters = [_parameter(each) for each in signature.parameters.values()]

    def command(**given: Any) -> None:
        if "settings" in given:
            given["settings"] = module.Settings.parse(given["settings"])
        module.run(**given)

    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _parameter(parameter: inspect.Parameter) -> inspect.Parameter:
    keyword = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    if parameter.name == "settings":
        return keyword.replace(annotation=SETTINGS)
    assert get_origin(parameter.annotation) is Annotated, f"{parameter.name} needs words"
    kind, words = get_args(parameter.annotation)
    if isinstance(words, Positional):
        return keyword.replace(annotation=Annotated[kind, typer.Argument(help=words)])
    option = typer.Option(option_name(parameter.name), help=words)
    return keyword.replace(annotation=Annotated[kind, option])


def option_name(parameter: str) -> str:
    """Return how a parameter is called on the command line: `cache_mb` --cache-mb, `n` -n.

    `from_` is --from: the word itself is Python's.
    """
    name = parameter.removesuffix("_").replace("_", "-")
    return f"-{name}" if len(name) == 1 else f"--{name}"
