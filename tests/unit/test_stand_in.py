"""The stand-in of BrainScape: counts, the same bytes every time, the table's schema, its size."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import stand_in
from wfdm.config.cohort import BrainScapeSource, SplitSettings
from wfdm.data.coverage import coverage
from wfdm.data.index import build, files_digest
from wfdm.data.people import read_aliases
from wfdm.data.published_split import published_split
from wfdm.data.split import divide, leaks
from wfdm.data.table import SPLITS, write_scans

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def some(tmp_path_factory) -> Path:
    """A stand-in of datasets with aliases, BRATS among them, and one that the study leaves out."""
    root = tmp_path_factory.mktemp("stand-in") / "some"
    stand_in.write(root, ["BDDR", "BCMD", "NIMHC", "IDEAS", "QTAB", "AHDC", "BCSP"])
    return root


def index(root: Path):
    source = BrainScapeSource(kind="brainscape", path=str(root), exclude=["AHDC"])
    return build([source], 42, True, "raw", [])


def test_stand_in_has_the_exact_counts(some):
    scans = index(some).scans
    keys = {"t1w": "T1w", "t2w": "T2w", "t1gd": "T1Gd", "flair": "FLAIR"}
    for row in stand_in.counts():
        part = scans[scans["dataset"] == row["dataset"]]
        if part.empty:
            continue
        assert part["subject"].nunique() == int(row["n_subj"])
        assert len(part.drop_duplicates(["subject", "session"])) == int(row["n_sess"])
        for column, modality in keys.items():
            assert (part["modality"] == modality).sum() == int(row[column])
    assert set(scans["dataset"]) == {"BDDR", "BCMD", "NIMHC", "IDEAS", "QTAB", "BCSP"}


def test_age_group_comes_from_age(some):
    scans = index(some).scans.set_index("scan_id")
    aged = scans[scans["age"] != ""]
    assert len(aged) and (aged["age_group"] != "").all()
    assert (scans.loc[scans["dataset"] == "IDEAS", "age"] == "").all()


def test_coverage_counts(some):
    scans = index(some).scans
    table = coverage(scans).set_index("field")
    epilepsy = scans[scans["epilepsy"] != ""]
    assert table.loc["epilepsy", "datasets"] == "1"
    assert table.loc["epilepsy", "FLAIR"] == str((epilepsy["modality"] == "FLAIR").sum())
    assert int(table.loc["any field", "scans"]) + int(table.loc["no field", "scans"]) == len(scans)
    share = 100 * (scans["sex"] != "").mean()
    assert float(table.loc["sex", "scans %"]) == pytest.approx(share, abs=0.05)


WORK = """
import sys
from pathlib import Path
from wfdm.config.cohort import BrainScapeSource, SplitSettings
from wfdm.data import findings, index, people, split, table

root, out = map(Path, sys.argv[1:])
source = BrainScapeSource(kind="brainscape", path=str(root), exclude=["AHDC"])
built = index.build([source], 42, True, "raw", people.read_aliases("config/people.tsv"))
table.write_scans(built.scans, out / "scans.tsv")
table.write_table(built.people, out / "people.tsv")
table.write_table(findings.report(built.findings), out / "report.tsv")
for rule in ("person", "published"):
    divided = split.divide(built.scans, SplitSettings(rule=rule), 42)
    table.write_table(divided, out / f"{rule}.tsv")
"""


def test_same_bytes_for_any_hash_seed_and_order(some, tmp_path):
    record = some / "BrainScape" / "dataset.json"
    kept = record.read_text()
    made = []
    for seed in ("0", "7"):
        content = json.loads(kept)
        shuffler = random.Random(seed)
        names = shuffler.sample(list(content), len(content))
        shuffled = {name: shuffler.sample(content[name], len(content[name])) for name in names}
        record.write_text(json.dumps(shuffled))
        out = tmp_path / seed
        out.mkdir()
        command = [sys.executable, "-c", WORK, some, out]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run(command, check=True, env=environment, cwd=ROOT)
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    record.write_text(kept)
    assert made[0] == made[1] and len(made[0]) == 5


def test_listing_watches_what_describes_the_volumes(some):
    source = BrainScapeSource(kind="brainscape", path=str(some))
    before = files_digest(source)
    assert files_digest(source) == before
    os.utime(some / "BrainScape" / "BCSP" / "metadata.json", ns=(0, 0))
    assert files_digest(source) != before


def test_scan_table_obeys_its_schema(some, tmp_path):
    write_scans(index(some).scans, tmp_path / "scans.tsv")


# The paper's table 1; without its T1Gd row, which is BRATS; standard deviations over 20 seeds of
# rule 'published' (benchmarks/results/full_size.json).
TOTALS = {"T1w": 30965, "T2w": 6893, "FLAIR": 6552, "T1Gd": 1470}
WITHOUT_BRATS = {
    "T1w": ((23514, 2864, 3117), (10.5, 8.4, 8.5)),
    "T2w": ((4331, 522, 570), (5.1, 4.6, 5.4)),
    "FLAIR": ((4063, 501, 518), (5.0, 3.8, 3.4)),
}


@pytest.mark.slow
def test_the_whole_of_brainscape(tmp_path):
    """The paper's totals, no leaks, and its non-BRATS counts, on 45,880 files of the stand-in."""
    stand_in.write(tmp_path / "all")
    source = BrainScapeSource(
        kind="brainscape", path=str(tmp_path / "all"), exclude=["AHDC", "SEND", "WRSP"]
    )
    aliases = read_aliases(ROOT / "config" / "people.tsv")
    scans = build([source], 42, True, "raw", aliases).scans
    shutil.rmtree(tmp_path / "all")
    assert scans["dataset"].nunique() == 157
    assert len(scans.drop_duplicates(["dataset", "subject"])) == 26783
    assert scans["modality"].value_counts().to_dict() == TOTALS
    brats = scans[scans["dataset"] == "BRATS"]
    assert (brats["subject"].nunique(), brats["person"].nunique()) == (1470, 1332)
    assert leaks(scans, divide(scans, SplitSettings(), 42)).empty

    published = SplitSettings(rule="published")
    assert len(leaks(scans, divide(scans, published, 42))) > 0
    rest = scans[scans["dataset"] != "BRATS"]
    draws = [pd.crosstab(rest["modality"], published_split(rest, published, s)) for s in range(5)]
    for modality, (paper, deviations) in WITHOUT_BRATS.items():
        found = sum(draws).loc[modality] / len(draws)
        for split, printed, deviation in zip(SPLITS, paper, deviations, strict=True):
            assert found[split] == pytest.approx(printed, abs=3 * deviation)
