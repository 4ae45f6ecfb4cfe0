"""Tables as HTML pages that need nothing beside them: what a report shows, and a browser reads."""

import base64
from pathlib import Path

import pandas as pd

from wfdm.atomic import write_text
from wfdm.errors import UserError
from wfdm.html import render
from wfdm.tables.layout import layout

HERE = Path(__file__).parent
SHOWN = 500  # rows of a page; the file beside it has all of them


def write_page(file: Path, page: Path, title: str) -> Path:
    """Write a table of the pipeline as a page; return where the page is.

    Args:
        file: the table, as CSV or as TSV.
        page: to write.
        title: stands above the table.

    Raises:
        UserError: the table cannot be read.
    """
    separator = "\t" if file.suffix == ".tsv" else ","
    try:
        table = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{file}: cannot be read as a table: {error}") from error
    write_text(page, table_page(table, title, file.name, file.read_bytes()))
    return page


def write_figure(file: Path, page: Path, title: str) -> Path:
    """Write a figure (PNG) as a page that fits it into the window; return where the page is."""
    picture = base64.b64encode(file.read_bytes()).decode()
    write_text(page, render(HERE / "figure.html.jinja", title=title, picture=picture))
    return page


def table_page(table: pd.DataFrame, title: str, name: str, content: bytes) -> str:
    """Return a table as a page: the paper's values beside this study's, notes below.

    Args:
        table: every cell as text; a column `X published` stands beside the column `X`.
        title: stands above the table.
        name: of the file that the table is from.
        content: of that file; the page offers it.
    """
    return render(
        HERE / "table.html.jinja",
        title=title,
        layout=layout(table, SHOWN),
        name=name,
        download=base64.b64encode(content).decode(),
    )
