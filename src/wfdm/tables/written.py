"""A table as files: CSV for programs, Markdown for a page, LaTeX (booktabs) for a paper."""

from itertools import accumulate
from pathlib import Path

import pandas as pd

from wfdm.atomic import write_text
from wfdm.data.table import write_csv
from wfdm.tables.layout import Cell, Layout, layout

PAPER = "paper"
LATEX = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"<": "$<$", ">": "$>$", "β": r"$\beta$"},
}
MARKDOWN = {sign: f"\\{sign}" for sign in "\\|*_<`["}


def write_table(table: pd.DataFrame, out: Path) -> list[Path]:
    """Write a table of the paper, every cell as text; return the files, the CSV first.

    Args:
        table: a column `X published` holds the paper's values of the column `X`.
        out: the CSV; Markdown and LaTeX have its name with .md and .tex.
    """
    shown = layout(table)
    files = [out, out.with_suffix(".md"), out.with_suffix(".tex")]
    write_csv(table, out)
    write_text(files[1], markdown(shown))
    write_text(files[2], latex(shown))
    return files


def markdown(shown: Layout) -> str:
    """Return a layout as a table of GitHub's Markdown, with its notes below."""
    cells = [_escaped(title, MARKDOWN) for title in _titles(shown)]
    rules = ["---:" if numeric else "---" for numeric in _numeric(shown)]
    lines = [cells, rules]
    for row in shown.rows:
        name, *others = (_escaped(cell.text, MARKDOWN) for cell in row.cells)
        lines.append([name + "".join(f"<sup>{letter}</sup>" for letter in row.notes), *others])
    told = [
        f"<sup>{letter}</sup> {_escaped(text, MARKDOWN)}" for letter, text in shown.notes.items()
    ]
    told += [f"{name}: {_escaped(text, MARKDOWN)}" for name, text in shown.same.items()]
    grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([grid, *told]) + "\n"


def latex(shown: Layout) -> str:
    r"""Return a layout as a tabular for `\usepackage{booktabs}`, with its notes below."""
    columns = "".join("r" if numeric else "l" for numeric in _numeric(shown))
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", *_latex_heads(shown), "\\midrule"]
    for row in shown.rows:
        name, *others = (_escaped(cell.text, LATEX) for cell in row.cells)
        marks = f"\\textsuperscript{{{','.join(row.notes)}}}" if row.notes else ""
        lines.append(f"{' & '.join([name + marks, *others])} \\\\")
    lines += ["\\bottomrule", "\\end{tabular}"]
    told = [
        f"\\textsuperscript{{{letter}}} {_escaped(text, LATEX)}"
        for letter, text in shown.notes.items()
    ]
    told += [
        f"{_escaped(name, LATEX)}: {_escaped(text, LATEX)}" for name, text in shown.same.items()
    ]
    lines += [f"\\par\\footnotesize {text}" for text in told]
    return "\n".join(["% needs \\usepackage{booktabs}", *lines]) + "\n"


def _latex_heads(shown: Layout) -> list[str]:
    """Return one line of headings; with values of the paper three: what, a rule, whose."""
    if not shown.paired:
        return [f"{' & '.join(_escaped(head.text, LATEX) for head in shown.heads)} \\\\"]
    above = [
        f"\\multicolumn{{{len(head.whose)}}}{{c}}{{{_escaped(head.text, LATEX)}}}"
        for head in shown.heads
    ]
    ends = accumulate(len(head.whose) for head in shown.heads)
    rules = [
        f"\\cmidrule(lr){{{end - len(head.whose) + 1}-{end}}}"
        for head, end in zip(shown.heads, ends, strict=True)
        if PAPER in head.whose
    ]
    below = [whose if PAPER in head.whose else "" for head in shown.heads for whose in head.whose]
    return [f"{' & '.join(above)} \\\\", "".join(rules), f"{' & '.join(below)} \\\\"]


def _titles(shown: Layout) -> list[str]:
    """Return a title for each column; of the paper's values it says so."""
    return [
        f"{head.text} ({PAPER})" if whose == PAPER else head.text
        for head in shown.heads
        for whose in head.whose
    ]


def _numeric(shown: Layout) -> list[bool]:
    """Return for each column whether all it holds are numbers."""
    columns: list[tuple[Cell, ...]] = list(zip(*(row.cells for row in shown.rows), strict=True))
    if not columns:
        return [False] * len(shown.whose)
    return [
        any(cell.number for cell in column) and all(cell.number or not cell.text for cell in column)
        for column in columns
    ]


def _escaped(text: str, signs: dict[str, str]) -> str:
    return "".join(signs.get(sign, sign) for sign in text)
