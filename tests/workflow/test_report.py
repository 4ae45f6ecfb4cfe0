"""The report: one page that needs no network, with all that the study made and why not the rest."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

PAPER = [*(f"Table {number}" for number in range(1, 20)), *(f"Figure {n}" for n in range(1, 8))]
ADDRESSES = {"src", "href", "srcset", "data", "poster", "background"}
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


class Page(HTMLParser):
    """What a page loads, its tables' cells, and its scripts by their ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.rows: list[list[str]] = []
        self.scripts: dict[str, str] = {}
        self.images, self.in_cell = 0, False
        self.text = ""
        self.tag, self.script = "", ""
        self.feed(text)
        self.rows = [[cell.strip() for cell in row] for row in self.rows]

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tag, self.script = tag, given.get("id") or ""
        self.images += tag == "img"
        self.loads += [value or "" for name, value in attributes if name in ADDRESSES]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.tag = "" if tag == self.tag else self.tag
        self.in_cell &= tag not in ("td", "th", "tr", "table")

    def handle_data(self, data):
        if self.tag == "script":
            self.scripts[self.script] = self.scripts.get(self.script, "") + data
            return
        self.text += data
        if self.in_cell:
            self.rows[-1][-1] += data

    @property
    def foreign(self) -> list[str]:
        """What is loaded from elsewhere: all that is not in the page itself."""
        return [address[:80] for address in self.loads if not address.startswith(("data:", "#"))]

    def variable(self, script: str):
        """The value that a script gives to its one variable."""
        return json.loads(self.scripts[script].split("=", 1)[1].strip().rstrip(";"))


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    finished.run("all", "--report", str(path))
    return path


@pytest.fixture(scope="module")
def shown(report) -> dict[str, bytes]:
    """The content of each result that the report holds, by its path."""
    results = Page(report.read_text(encoding="utf-8")).variable("results")
    return {
        path: base64.b64decode(result["data_uri"].split(",", 1)[1])
        for path, result in results.items()
    }


def page_of(shown, name) -> Page:
    (content,) = [content for path, content in shown.items() if Path(path).stem == name]
    return Page(content.decode())


def test_it_loads_nothing_from_elsewhere(report, shown):
    assert not Page(report.read_text(encoding="utf-8")).foreign
    for path, content in shown.items():
        if path.endswith(".html"):
            assert not Page(content.decode()).foreign, path


def test_it_tells_of_each_table_and_figure_of_the_paper(finished, shown):
    """By its number: the file, which is there and in the report, or a line why not."""
    rows = {row[0].replace("\xa0", " "): row for row in page_of(shown, "overview").rows}
    assert [name for name in rows if name in PAPER] == PAPER
    made = {name: row[2] for name, row in rows.items() if name in PAPER}
    files = {name: file for name, file in made.items() if not file.startswith("Not made: ")}
    there = [
        *(finished.results / "tables").glob("table*.csv"),
        *(finished.results / "figures").glob("figure*.png"),
    ]
    assert {finished.folder / file for file in files.values()} == set(there)
    for name, file in files.items():
        assert Path(file).stem == name.replace(" ", "").lower()
        assert page_of(shown, Path(file).stem).loads, "a picture, or the table to take away"
    assert all(len(told) > 30 for name, told in made.items() if name not in files)


def test_tables_stand_beside_published_values(finished, shown):
    table = pd.read_csv(finished.results / "tables/table3.csv", dtype=str, keep_default_na=False)
    row = table.set_index("Model").loc["WF-SA-VAE"]
    (cells,) = [row for row in page_of(shown, "table3").rows if row[0] == "WF-SA-VAE"]
    place = cells.index("30.79")  # the paper's PSNR
    assert cells[place - 1] == row["PSNR"] and float(row["PSNR"]) > 0
    assert row["note"] in page_of(shown, "table3").text


def test_figures_and_qualities_are_the_study_s(finished, shown):
    for name in (f"figure{number}" for number in range(1, 8)):
        (picture,) = page_of(shown, name).loads
        kind, _, content = picture.partition(",")
        assert kind == "data:image/png;base64"
        made = (finished.results / f"figures/{name}.png").read_bytes()
        assert base64.b64decode(content) == made
    quality = page_of(shown, "quality")
    sessions = pd.read_csv(finished.results / "preprocessed/quality.tsv", sep="\t")
    assert quality.images == min(len(sessions), 12) > 5
    assert all(address.startswith("data:image/jpeg") for address in quality.loads)


def test_run_times_environment_and_rules(finished, report, shown):
    rows = {row[0]: row[1:] for row in page_of(shown, "overview").rows}
    measured = finished.results / "logs/train_denoiser/wfdm.benchmark.tsv"
    jobs, seconds, longest, _ = rows["train_denoiser"]
    took = pd.read_csv(measured, sep="\t")["s"].iloc[0]
    assert jobs == "1" and float(seconds) == float(longest) == pytest.approx(took, abs=0.06)
    shards = list((finished.results / "logs/preprocess").glob("*.benchmark.tsv"))
    assert rows["preprocess"][0] == str(len(shards))
    for package in ("torch", "monai", "numpy"):
        assert rows[package][0] == version(package)
    graph = Page(report.read_text(encoding="utf-8")).variable("rulegraph")
    (nodes,) = [data["values"] for data in graph["data"] if data["name"] == "node-data"]
    assert {"index", "preprocess", "train_compressor", "train_denoiser", "table4"} <= {
        node["rule"] for node in nodes
    }


@pytest.mark.skipif(not BROWSER, reason="no Chromium or Chrome here to open the report in")
def test_a_browser_without_network_draws_it(report, tmp_path):
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--dump-dom", report.as_uri()]
    done = subprocess.run([BROWSER, *options], capture_output=True, text=True, timeout=600)
    drawn = done.stdout.split('id="app"', 1)[1].split("<script", 1)[0]
    for category in ("Contents", "Data", "Figures", "Quality", "Tables"):
        assert f">{category}</span>" in drawn
    assert re.search(r'<(canvas|svg)[^>]* class="marks"', drawn), "the graph of the rules"
