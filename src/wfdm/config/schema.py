"""The JSON schema of a study, by which editors complete and check configuration files."""

import json
from collections.abc import Iterator
from typing import Any

from wfdm.config.study import ROWS, Study


def schema_text() -> str:
    """Return the schema as the text of `config/schema.json`."""
    return json.dumps(schema(), indent=1) + "\n"


def schema() -> dict[str, Any]:
    """Return a schema that fits a whole study, and also a file of just the keys that differ.

    Such a file merges into another, so nothing is required in it, a kind that stays needs no
    mention, and null removes a row. Lists replace, so each entry of `sources` must be complete.
    """
    found = Study.model_json_schema()
    definitions = found["$defs"]
    complete = set(_reached(found["properties"]["sources"], definitions))
    for name, definition in definitions.items():
        if name not in complete:
            _loosen(definition)
    for rows in ROWS:
        _loosen(found["properties"][rows])
        rule = found["properties"][rows]
        del rule["default"]
        rule["additionalProperties"] = {"anyOf": [rule["additionalProperties"], {"type": "null"}]}
    return found


def _loosen(node: Any) -> None:
    """Drop what a part of a mapping need not have, here and below."""
    if isinstance(node, dict):
        if isinstance(node.get("required"), list):
            del node["required"]
        if "oneOf" in node:
            node["anyOf"] = node.pop("oneOf")
            node.pop("discriminator", None)
        for value in node.values():
            _loosen(value)
    elif isinstance(node, list):
        for value in node:
            _loosen(value)


def _reached(node: Any, definitions: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the definitions that `node` refers to, directly or not."""
    if isinstance(node, dict):
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            yield name
            yield from _reached(definitions[name], definitions)
        for value in node.values():
            yield from _reached(value, definitions)
    elif isinstance(node, list):
        for value in node:
            yield from _reached(value, definitions)
