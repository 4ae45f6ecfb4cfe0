"""The quality page: one HTML file that shows the worst sessions first."""

import os
from html import escape
from pathlib import Path

import pandas as pd

from wfdm.preprocess.quality import FEWEST

SHOWN = 500  # sessions with a picture; the table beside the page has all of them

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Preprocessing quality: {study}</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 1820px; padding: 0 1em }}
section {{ border-top: 1px solid #bbb; padding: .6em 0 }}
h2 {{ font-size: 1em; margin: .2em 0 }}
img {{ max-width: 100%; background: #000 }}
.failed h2, .flag {{ color: #b00020 }}
td, th {{ padding: 0 1em 0 0; text-align: right; font-size: .85em }}
</style></head><body>
<h1>Preprocessing quality: {study}</h1>
<p>{sessions} sessions, {failed} failed, {flagged} flagged. The worst come first: failed sessions,
then by the largest robust z-score within their dataset (flagged above {z:g}, where a dataset has
{fewest} sessions or more). Numbers of all
sessions: <a href="{table}">{table}</a>. To leave one out, add its key and a reason to
<code>{exclusions}</code> and run the study again.</p>
"""


def page(flagged: pd.DataFrame, at: Path, study: str, z: float, exclusions: str) -> str:
    """Return the HTML page for the table of `quality.flag`.

    Args:
        flagged: one row per session, the worst first.
        at: where the page will lie; pictures and logs are linked relative to it.
        study: name of the study.
        z: threshold of the flags.
        exclusions: the exclusion file's name.
    """
    head = _HEAD.format(
        study=escape(study),
        sessions=len(flagged),
        failed=int((flagged["status"] == "failed").sum()),
        flagged=int((flagged["flags"] != "").sum()),
        z=z,
        fewest=FEWEST,
        table=at.with_suffix(".tsv").name,
        exclusions=escape(exclusions),
    )
    rows = flagged.head(SHOWN).to_dict("records")
    return (
        head
        + "".join(_section({str(k): v for k, v in row.items()}, at) for row in rows)
        + ("</body></html>\n")
    )


def _section(row: dict, at: Path) -> str:
    key = escape(row["session"])
    log = escape(os.path.relpath(row["log"], at.parent))
    if row["status"] == "failed":
        return (
            f'<section class="failed"><h2>{key}: failed</h2><p>{escape(row["message"])} '
            f'(<a href="{log}">log</a>)</p></section>\n'
        )
    picture = escape(os.path.relpath(row["picture"], at.parent))
    flags = f'<p class="flag">{escape(row["flags"])}</p>' if row["flags"] else ""
    numbers = {
        name: value
        for name, value in row.items()
        if isinstance(value, float) and value == value and name != "worst"
    }
    cells = "".join(f"<th>{escape(name)}</th>" for name in numbers)
    values = "".join(f"<td>{value:.4g}</td>" for value in numbers.values())
    return (
        f'<section><h2>{key} (<a href="{log}">log</a>)</h2>{flags}'
        f'<img loading="lazy" src="{picture}" alt="{key}">'
        f"<table><tr>{cells}</tr><tr>{values}</tr></table></section>\n"
    )
