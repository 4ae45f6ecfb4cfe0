"""Pages of tables and the study at a glance: what they say, and what they refuse."""

import json

import pandas as pd
import pytest

from wfdm.errors import UserError
from wfdm.tables.overview import contents, environment, run_times
from wfdm.tables.pages import table_page, write_page

HEX = "0123456789abcdef" * 4
TABLE = pd.DataFrame(
    [
        ["A & B", "1.5", "2.5", HEX, "too few", "small; new"],
        ["C", "", "3.5", "", "", "not in this study"],
        ["D", "0.5", "", "", "", "small; new"],
    ],
    columns=["Model", "FID", "FID published", "sha", "reason", "note"],
)


def test_a_page_pairs_columns_and_tells_each_note_once():
    page = table_page(TABLE, "Table <1>", "t.csv", b"a,b\n")
    assert "<h1>Table &lt;1&gt;</h1>" in page and "A &amp; B" in page
    assert page.count('colspan="2">FID</th>') == 1
    assert page.index(">1.5<") < page.index(">2.5<") < page.index(">3.5<")
    assert page.count("small; new") == 1 and page.count("too few") == 1
    assert page.count("<sup>b</sup>") == 3, "two rows and the note itself"
    assert page.count('<tr class="absent">') == 1
    assert f"<b>sha</b>: {HEX}" in page and page.count(HEX) == 1
    assert "data:text/plain;base64,YSxiCg==" in page


def test_what_is_the_same_in_every_row_stands_below():
    table = TABLE.assign(extractor=["net", "", "net"], n=["3", "", "3"])
    page = table_page(table, "Title", "t.csv", b"")
    assert "<b>extractor</b>: net" in page and ">extractor</th>" not in page
    assert ">n</th>" in page, "a number stays where it is"


def test_a_long_table_says_what_it_leaves_out(tmp_path):
    pd.DataFrame({"n": range(600)}).to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    write_page(tmp_path / "t.tsv", tmp_path / "t.html", "Long")
    page = (tmp_path / "t.html").read_text()
    assert "The first 500 of 600 rows" in page and ">499<" in page and ">500<" not in page
    pd.DataFrame(columns=["n"]).to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    write_page(tmp_path / "t.tsv", tmp_path / "t.html", "Empty")
    assert "nothing was found" in (tmp_path / "t.html").read_text()


def test_the_paper_s_list_is_whole():
    """19 tables and 7 figures; each of them is made, or there is a reason."""
    keys = [*(f"table{n}" for n in range(1, 20)), *(f"figure{n}" for n in range(1, 8))]
    every = contents("config/published/contents.csv", {key: f"{key}.csv" for key in keys})
    assert [row["name"].replace(" ", "").lower() for row in every] == keys
    assert not any(row["reason"] for row in every)
    with pytest.raises(UserError, match="'table1' is not made; give the reason"):
        contents("config/published/contents.csv", {})
    with pytest.raises(UserError, match="has no row 'table20'"):
        contents("config/published/contents.csv", {"table20": "table20.csv"})


def test_run_times_are_summed_by_rule(tmp_path):
    for name, seconds, memory in (
        ("encode/a/0000", 2.5, "100"),
        ("encode/b/0000", 1.5, "-"),
        ("table3", 9, "NA"),
    ):
        path = tmp_path / f"{name}.benchmark.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tmax_rss\n{seconds}\t{memory}\n")
    assert run_times(tmp_path) == [
        {"rule": "table3", "jobs": 1, "seconds": 9, "longest": 9, "memory": None},
        {"rule": "encode", "jobs": 2, "seconds": 4, "longest": 2.5, "memory": 100},
    ]


def test_each_version_that_made_something_is_named(tmp_path):
    for name, version in (("a", "1"), ("b", "1"), ("c", "2")):
        record = {"environment": {"torch": version}, "device": "CPU"}
        (tmp_path / f"{name}.prov.json").write_text(json.dumps(record))
    found = environment(tmp_path)
    assert sorted(found["packages"]) == [("torch", "1", 2), ("torch", "2", 1)]
    assert found["devices"] == [("CPU", "", 3)]
