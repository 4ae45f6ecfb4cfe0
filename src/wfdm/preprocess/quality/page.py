"""The quality page: one HTML file that shows the worst sessions first."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wfdm.preprocess.quality.numbers import FEWEST

SHOWN = 500  # sessions with a picture; the table beside the page has all of them
TEMPLATE = "page.html.jinja"


def page(flagged: pd.DataFrame, at: Path, study: str, z: float, exclusions: str) -> str:
    """Return the HTML page for the table of `quality.flag`.

    Args:
        flagged: one row per session, the worst first.
        at: where the page will lie; pictures and logs are linked relative to it.
        study: name of the study.
        z: threshold of the flags.
        exclusions: the exclusion file's name.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(
        study=study,
        sessions=len(flagged),
        failed=int((flagged["status"] == "failed").sum()),
        flagged=int((flagged["flags"] != "").sum()),
        z=f"{z:g}",
        fewest=FEWEST,
        table=at.with_suffix(".tsv").name,
        exclusions=exclusions,
        rows=[_shown(row, at.parent) for row in flagged.head(SHOWN).to_dict("records")],
    )


def _shown(row: Mapping[Any, Any], folder: Path) -> dict[str, Any]:
    """Return what the page says of one session; links are relative to `folder`."""
    said = {name: row[name] for name in ("session", "status", "message", "flags")}
    links = {name: os.path.relpath(row[name], folder) for name in ("log", "picture") if row[name]}
    numbers = {
        str(name): f"{value:.4g}"
        for name, value in row.items()
        if isinstance(value, float) and value == value and name != "worst"
    }
    return said | links | {"numbers": numbers}
