"""Settings in and out of files: reading with clear errors."""

import json
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from wfdm.config.base import Section
from wfdm.config.study import Study, merged
from wfdm.errors import UserError

Model = TypeVar("Model", bound=Section)


def parse(model: type[Model], settings: Any, where: str) -> Model:
    """Validate `settings` (a dict) as `model`.

    Raises UserError, in one line, that names each wrong key and what is allowed.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise UserError(_explained(error, where)) from error


def parse_json(model: type[Model], text: str) -> Model:
    """Validate settings given as JSON text, or as the path of a JSON file."""
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--settings: {text} cannot be read: {error}") from error
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"--settings: not valid JSON: {error}") from error
    return parse(model, settings, "--settings")


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Read one configuration file.

    Raises:
        UserError: it cannot be read, is no YAML or no mapping, or has a key twice in one mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8")) or {}
    except DuplicateKeyError as error:
        key = str(error.problem).partition('"')[2].partition('"')[0]
        line = error.problem_mark.line + 1
        raise UserError(f"{path}, line {line}: '{key}' is given twice; keep one") from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as YAML: {reason}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: a configuration is a mapping of keys, not {type(content).__name__}"
        )
    return content


def read_files(*paths: Path | str) -> dict[str, Any]:
    """Read configuration files, later ones over earlier ones (mappings merge, lists replace)."""
    return reduce(merged, map(read_yaml, paths), {})


def read_study(*paths: Path | str) -> Study:
    """Read a study from configuration files, as `read_files` merges them."""
    return parse(Study, read_files(*paths), " + ".join(map(str, paths)))


def of_snakemake(config: dict[str, Any], *paths: Path | str) -> Study:
    """Return the study of Snakemake's merged configuration; `paths` are of the command line."""
    return parse(Study, completed(config, read_files(*paths)), "configuration")


def completed(config: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Return Snakemake's merged configuration with the empty mappings that its merge loses.

    `few_steps: {}` asks for the defaults of a section; over null, or any value that is no mapping,
    Snakemake leaves what was there.

    Args:
        config: as Snakemake merged it.
        asked: what the files of the command line say, merged here.
    """
    found = dict(config)
    for key, value in asked.items():
        if isinstance(value, dict):
            inner = found.get(key)
            found[key] = completed(inner if isinstance(inner, dict) else {}, value)
    return found


def _explained(error: ValidationError, where: str) -> str:
    parts = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(top level)"
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key '{key}': remove it or correct its spelling")
        else:
            message = item["msg"].removeprefix("Value error, ")
            got = "" if isinstance(item["input"], dict) else f" (got {str(item['input'])[:60]!r})"
            parts.append(f"'{key}': {message}{got}")
    return f"{where}: " + "; ".join(parts)
