"""A table as CSV, Markdown and LaTeX: read back, all three say the same."""

import re

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from wfdm.tables.layout import layout
from wfdm.tables.written import latex, markdown, write_table

HARD = r"50 % of a_b | <i> #1 $x$ {y} A & B \ ~ ^ * [z] `c`"
TABLE = pd.DataFrame(
    [
        ["WFDM", "0.5", "0.004", "3", "net", "few; new"],
        [HARD, "", "0.02", "", "", "not in this study"],
        ["Noise (β)", "13", "", "3", "net", "few; new"],
    ],
    columns=["Model", "FID", "FID published", "n_real", "extractor", "note"],
)
SHOWN = [["WFDM", "0.5", "0.004", "3"], [HARD, "", "0.02", ""], ["Noise (β)", "13", "", "3"]]
LETTERS = ["a", "b", "a"]
SIGNS = {
    **{r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^"},
    **{f"\\{sign}": sign for sign in "&%$#_{}"},
    **{"$<$": "<", "$>$": ">", r"$\beta$": "β"},
}


def read_markdown(text: str) -> tuple[list[list[str]], list[str]]:
    """What a reader of GitHub's Markdown sees: the cells of each line, and the paragraphs."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    lines, paragraphs, inside = [], [], False
    for token in tokens:
        if token.type == "tr_open":
            lines.append([])
        if token.type in ("th_open", "td_open"):
            inside = True
        if token.type in ("th_close", "td_close"):
            inside = False
        if token.type == "inline":
            seen = "".join(child.content for child in token.children or [])
            (lines[-1] if inside else paragraphs).append(seen)
    return lines, paragraphs


def read_latex(text: str) -> tuple[str, list[list[str]], list[str]]:
    """What LaTeX would print: the columns' kinds, the cells of each line, and what stands below."""
    kinds, body = re.fullmatch(
        r"% needs \\usepackage\{booktabs\}\n\\begin\{tabular\}\{([lr]+)\}\n(.*)", text, re.S
    ).groups()
    table, below = body.split("\\end{tabular}\n")
    rules = r"\\(toprule|midrule|bottomrule)\n|(\\cmidrule\(lr\)\{\d+-\d+\})+\n"
    lines = [line for line in re.sub(rules, "", table).split(" \\\\\n") if line]
    cells = [[plain(cell) for cell in re.split(r"(?<!\\) & ", line)] for line in lines]
    return kinds, cells, [plain(line) for line in below.splitlines()]


def plain(text: str) -> str:
    """LaTeX's text as it is printed."""
    escaped = "|".join(map(re.escape, SIGNS))
    bare = re.sub(escaped, "", re.sub(r"\\(textsuperscript|multicolumn)\{[^}]*\}", "", text))
    assert not set("&%$#_^~") & set(bare), f"a sign of LaTeX's own: {text}"
    return re.sub(escaped, lambda found: SIGNS[found[0]], text)


def test_markdown_is_read_as_the_table():
    lines, paragraphs = read_markdown(markdown(layout(TABLE)))
    assert lines[0] == ["Model", "FID", "FID (paper)", "n_real"]
    marked = [
        [f"{name}<sup>{letter}</sup>", *others]
        for (name, *others), letter in zip(SHOWN, LETTERS, strict=True)
    ]
    assert lines[1:] == marked
    assert paragraphs == [
        "<sup>a</sup> few; new",
        "<sup>b</sup> not in this study",
        "extractor: net",
    ]


def test_latex_is_read_as_the_table():
    kinds, lines, below = read_latex(latex(layout(TABLE)))
    assert kinds == "lrrr", "numbers stand on the right"
    heads, whose, *rows = lines
    assert heads == [
        r"\multicolumn{1}{c}{Model}",
        r"\multicolumn{2}{c}{FID}",
        r"\multicolumn{1}{c}{n_real}",
    ]
    assert whose == ["", "here", "paper", ""]
    marked = [
        [f"{name}\\textsuperscript{{{letter}}}", *others]
        for (name, *others), letter in zip(SHOWN, LETTERS, strict=True)
    ]
    assert rows == marked
    assert "\\cmidrule(lr){2-3}\n" in latex(layout(TABLE))
    assert [line.removeprefix(r"\par\footnotesize ") for line in below] == [
        r"\textsuperscript{a} few; new",
        r"\textsuperscript{b} not in this study",
        "extractor: net",
    ]


def test_every_line_of_latex_has_a_cell_for_each_column():
    """Also of a table without the paper's values, and of one without rows."""
    for table in (TABLE, TABLE.drop(columns="FID published"), TABLE[:0], TABLE[["Model"]]):
        kinds, lines, _ = read_latex(latex(layout(table)))
        for line in lines:
            wide = [re.match(r"\\multicolumn\{(\d+)\}", cell) for cell in line]
            assert sum(int(found[1]) if found else 1 for found in wide) == len(kinds)


def test_the_three_files_lie_beside_each_other_and_are_the_same_every_time(tmp_path):
    made = [write_table(TABLE, tmp_path / name / "table4.csv") for name in ("a", "b")]
    assert [path.name for path in made[0]] == ["table4.csv", "table4.md", "table4.tex"]
    assert [path.read_bytes() for path in made[0]] == [path.read_bytes() for path in made[1]]
    again = pd.read_csv(made[0][0], dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(again, TABLE)


@pytest.mark.parametrize("rows", [1, 27])
def test_each_note_has_a_letter_of_its_own(rows):
    table = pd.DataFrame({"Model": "m", "note": [f"note {n}" for n in range(rows)]})
    shown = layout(table)
    assert list(shown.notes.values()) == list(table["note"]) and len(shown.notes) == rows
    assert list(shown.notes)[-1] == ("a" if rows == 1 else "aa")
    assert [row.notes for row in shown.rows] == [(letter,) for letter in shown.notes]
