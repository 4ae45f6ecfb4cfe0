"""The quality page: one HTML file that shows the worst sessions first."""

import base64
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wfdm.html import render
from wfdm.preprocess.quality.numbers import FEWEST

SHOWN = 500  # sessions with a picture; the table beside the page has all of them
WORST = 12  # sessions of the page that holds its pictures itself
WIDTH = 1400  # pixels of these pictures
TEMPLATE = Path(__file__).with_name("page.html.jinja")
TEXTS = ("session", "status", "message", "picture", "log", "start", "state", "flags", "left_out")


def page(flagged: pd.DataFrame, at: Path, study: str, z: float, exclusions: str) -> str:
    """Return the HTML page for the table of `quality.flag`.

    Args:
        flagged: one row per session, the worst first.
        at: where the page will lie; pictures and logs are linked relative to it.
        study: name of the study.
        z: threshold of the flags.
        exclusions: the exclusion file's name.
    """
    rows = (_linked(row, at.parent) for row in flagged.head(SHOWN).to_dict("records"))
    return _render(flagged, rows, study, z, exclusions, at.with_suffix(".tsv").name)


def worst_page(flagged: pd.DataFrame, study: str, z: float, exclusions: str) -> str:
    """Return the page of the worst sessions, with all it needs in it; arguments as of `page`."""
    rows = (_embedded(row) for row in flagged.head(WORST).to_dict("records"))
    return _render(flagged, rows, study, z, exclusions, "")


def read_flagged(path: Path) -> pd.DataFrame:
    """Read the table that lies beside the quality page; texts that are not there are empty."""
    table = pd.read_csv(path, sep="\t")
    texts = [name for name in TEXTS if name in table]
    return table.assign(**{name: table[name].fillna("").astype(str) for name in texts})


def _render(
    flagged: pd.DataFrame,
    rows: Iterable[Mapping[str, Any]],
    study: str,
    z: float,
    exclusions: str,
    table: str,
) -> str:
    return render(
        TEMPLATE,
        study=study,
        sessions=len(flagged),
        failed=int((flagged["status"] == "failed").sum()),
        flagged=int((flagged["flags"] != "").sum()),
        z=f"{z:g}",
        fewest=FEWEST,
        table=table,
        worst=WORST,
        exclusions=exclusions,
        rows=list(rows),
    )


def _linked(row: Mapping[Any, Any], folder: Path) -> dict[str, Any]:
    """Return what the page says of one session; links are relative to `folder`."""
    links = {name: os.path.relpath(row[name], folder) for name in ("log", "picture") if row[name]}
    return _said(row) | links


def _embedded(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the same with the picture itself, small, and without links."""
    if not row["picture"]:
        return _said(row) | {"log": ""}
    from PIL import Image

    small = io.BytesIO()
    with Image.open(row["picture"]) as picture:
        picture.thumbnail((WIDTH, picture.height))
        picture.convert("RGB").save(small, "JPEG", quality=80)
    data = base64.b64encode(small.getvalue()).decode()
    return _said(row) | {"log": "", "picture": f"data:image/jpeg;base64,{data}"}


def _said(row: Mapping[Any, Any]) -> dict[str, Any]:
    said = {name: row[name] for name in ("session", "status", "message", "flags")}
    numbers = {
        str(name): f"{value:.4g}"
        for name, value in row.items()
        if isinstance(value, float) and value == value and name != "worst"
    }
    return said | {"numbers": numbers}
