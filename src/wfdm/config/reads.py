"""What a stage reads, said once: `Settings = reads("seed", "volume", "evaluation.lpips")`.

A stage's settings are just those values of a study, with the types and checks of the sections that
they come from. A rule hands them to its stage as JSON, so an edit of any other key reruns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

if TYPE_CHECKING:
    from wfdm.config.base import Section
    from wfdm.config.study import Study


@dataclass(frozen=True)
class Reads:
    """The keys of the study that a stage reads: field name to dotted path.

    Those in `optional` are null where a row has no such part: decoded noise has no denoiser.

    The study's sections are imported when they are first asked for: listing commands is quick.
    """

    paths: dict[str, str]
    optional: frozenset[str] = frozenset()

    def of(self, study: Study, **names: str) -> Section:
        """Take the values out of `study`; `names` fill the placeholders of the paths."""
        return self.model(
            **{
                field: None
                if field in self.optional and not _named_in(path, names)
                else _value(study, path, names)
                for field, path in self.paths.items()
            }
        )

    def parse(self, text: str) -> Any:
        """Return the settings given as JSON text, or as the path of a JSON file.

        Raises:
            UserError: no JSON, or a key is unknown, missing or wrong; in one line.
        """
        from wfdm.config.files import parse_json

        return parse_json(self.model, text)

    @cached_property
    def model(self) -> type[Section]:
        """The settings as a class of their own."""
        from pydantic import create_model

        from wfdm.config.base import Section

        fields: dict[str, Any] = {
            field: (_type(path) | None if field in self.optional else _type(path), ...)
            for field, path in self.paths.items()
        }
        return create_model("Settings", __base__=Section, **fields)


def reads(*keys: str) -> Reads:
    """Return what a stage reads.

    A key is a dotted path ("evaluation.lpips"); a part in braces stands for a name that is given
    later ("compressors.{compressor}.training"), and alone for that name itself ("{compressor}").
    The field is called by the last part, or as `field=path` says. A key that ends in "?" is null
    where its name is not given.

    Raises:
        KeyError: two keys have one field.
    """
    paths = dict(_named(key.removesuffix("?")) for key in keys)
    if len(paths) < len(keys):
        raise KeyError(f"two of {keys} have one field; name one as field=path")
    return Reads(paths, frozenset(_named(key[:-1])[0] for key in keys if key.endswith("?")))


def _named(key: str) -> tuple[str, str]:
    field, given, path = key.partition("=")
    return (field, path) if given else (key.split(".")[-1].strip("{}"), key)


def _named_in(path: str, names: dict[str, str]) -> bool:
    """Return whether every placeholder of a path has a name."""
    placeholders = (part for part in path.split(".") if part.startswith("{"))
    return all(part.strip("{}") in names for part in placeholders)


def _is_name(path: str) -> bool:
    return path.startswith("{") and "." not in path


def _value(study: Study, path: str, names: dict[str, str]) -> Any:
    if _is_name(path):
        return names[path.strip("{}")]
    found: Any = study
    for part in path.split("."):
        key = part.format(**names)
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    return found


def _type(path: str) -> Any:
    from wfdm.config.study import Study

    if _is_name(path):
        return str
    found: Any = Study
    for part in path.split("."):
        found = _member(found, part)
    return found


def _member(kind: Any, part: str) -> Any:
    """Return the type of one part of a path within `kind`; raise KeyError where it has none."""
    if get_origin(kind) is Annotated:
        return _member(get_args(kind)[0], part)
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) in (Union, UnionType):
        having = [each for each in get_args(kind) if part in getattr(each, "model_fields", {})]
        if having:
            return Union[tuple(_member(each, part) for each in having)]  # noqa: UP007
    elif part in getattr(kind, "model_fields", {}):
        return kind.model_fields[part].rebuild_annotation()
    raise KeyError(f"the study has no key '{part}' there")
