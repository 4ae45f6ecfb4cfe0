"""Pages from templates."""

from pathlib import Path
from typing import Any


def render(template: Path, **values: Any) -> str:
    """Return a page from a Jinja template, which may extend others of its folder.

    Every value is escaped; one that the template names and nobody gave is an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(**values)
