"""The published numbers agree with each other; every row has the key that a study knows it by."""

import csv
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from wfdm.config.study import COMPRESSORS, GENERATORS
from wfdm.errors import UserError
from wfdm.tables.published import read_published

PUBLISHED = Path(__file__).parents[2] / "config" / "published"
TEST_SCANS = {"T1w": 3414, "T2w": 867, "T1Gd": 297, "FLAIR": 815}
RECONSTRUCTION = (3, 8, 9, 10, 11)
GENERATION = (2, 4, 6, 12, 13, 14, 15)
SCHEDULES = (5, 7, 16, 17, 18, 19)
SYNTHESIS = {"T1w": 12, "T2w": 13, "T1Gd": 14, "FLAIR": 15}
SCHEDULER = {"T1w": 16, "T1Gd": 17, "T2w": 18, "FLAIR": 19}


def file(number):
    return PUBLISHED / f"table{number}.csv"


def published(number, index):
    return read_published(file(number)).set_index(index)


def test_all_nineteen_tables_are_there_and_rectangular():
    rows = [5, 6, 10, 6, 4, 6, 4, 10, 10, 10, 10, 6, 3, 3, 3, 4, 4, 4, 4]
    for number, count in zip(range(1, 20), rows, strict=True):
        with file(number).open(newline="", encoding="utf-8") as stream:
            lines = list(csv.reader(stream))
        assert len(lines) == count + 1
        assert {len(line) for line in lines} == {len(lines[0])}
        assert len(set(lines[0])) == len(lines[0])


def test_every_published_row_has_a_key_of_its_own():
    for number in range(1, 20):
        table = read_published(file(number))
        assert table.columns[0] == "key"
        assert table["key"].is_unique and not table["key"].str.contains(r"[^\w-]").any()


@pytest.mark.parametrize("number", RECONSTRUCTION)
def test_every_compressor_of_the_study_stands_beside_the_papers_row_of_its_name(number):
    printed = published(number, "key")["Model"]
    assert list(printed.index) == list(COMPRESSORS)
    for name, compressor in COMPRESSORS.items():
        citation = r"( \(.+, \d{4}\))?" if number == 3 else ""
        assert re.fullmatch(re.escape(compressor.label) + citation, printed[name])


@pytest.mark.parametrize("number", GENERATION)
def test_generators_have_one_key_in_all_their_tables(number):
    keys = {
        "WFDM": "wfdm",
        "MAISI": "maisi",
        "LDM": "ldm",
        "Med-DDPM": "med-ddpm",
        "WDM": "wdm",
        "HA-GAN": "ha-gan",
    }
    table = read_published(file(number))
    assert list(table["key"]) == [keys[model] for model in table["Model"]]
    assert GENERATORS["wfdm"].label == table.set_index("key").loc["wfdm", "Model"]


@pytest.mark.parametrize("number", SCHEDULES)
def test_schedulers_have_one_key_in_all_their_tables(number):
    table = read_published(file(number))
    names = {"DDPM (cosine β": "ddpm-cosine", "DDPM (scaled-linear β": "ddpm-scaled-linear"}
    for key, name, loss in zip(table["key"], table.iloc[:, 1], table["Loss"], strict=True):
        short = name.removesuffix(")").removesuffix(" schedule")
        assert key == f"{names.get(short, name.lower())}-{loss}"


def test_published_table_1_adds_up():
    table = published(1, "Modality")
    assert list(table["key"]) == list(table.index)
    counts = table.drop(columns="key").astype(int)
    assert (counts["Total"] == counts[["Train", "Val", "Test"]].sum(axis=1)).all()
    assert (counts.loc["Total"] == counts.drop("Total").sum()).all()
    assert counts["Test"].drop("Total").to_dict() == TEST_SCANS


@pytest.mark.parametrize(
    ("metric", "tolerance"), [("LPIPS", 6e-5), ("SSIM", 6e-5), ("MS-SSIM", 6e-5), ("PSNR", 6e-3)]
)
def test_published_table_3_pools_tables_8_to_11(metric, tolerance):
    numbers = {"T1w": 8, "T2w": 9, "T1Gd": 10, "FLAIR": 11}
    overall = read_published(file(3))[metric].astype(float)
    total = sum(TEST_SCANS.values())
    parts = [
        read_published(file(numbers[modality]))[metric].astype(float) * count / total
        for modality, count in TEST_SCANS.items()
    ]
    # Every printed cell is rounded, so the pooled value may be off by one unit in the last place.
    np.testing.assert_allclose(sum(parts), overall, atol=2 * tolerance)


def unit(printed):
    """One in the last place of a printed number; the paper pads six digits with zeros."""
    return Decimal(1).scaleb(Decimal(printed).normalize().as_tuple().exponent)


@pytest.mark.parametrize(
    ("pooled", "prefix", "parts"),
    [(4, "", SYNTHESIS), (5, "Overall ", SCHEDULER)],
    ids=["table 4 of 12 to 15", "table 5 of 16 to 19"],
)
def test_published_synthesis_is_pooled_by_the_counts_of_the_test_scans(pooled, prefix, parts):
    """Means weighted by table 1's test counts, over the modalities that a system makes."""
    counts = {key: int(row["Test"]) for key, row in published(1, "key").iterrows()}
    tables = {modality: published(number, "key") for modality, number in parts.items()}
    for key, row in published(pooled, "key").iterrows():
        made = {name: table.loc[key] for name, table in tables.items() if key in table.index}
        total = sum(counts[name] for name in made)
        for metric in ("FID", "MMD", "MS-SSIM"):
            printed = row[prefix + metric]
            mean = sum(counts[name] * Decimal(each[metric]) for name, each in made.items()) / total
            # A unit, not half of one: the parts were rounded before, and two means cut off.
            assert abs(mean - Decimal(printed)) <= unit(printed), (key, metric)


def test_the_final_model_is_the_same_in_every_published_table():
    columns = ["FID", "MMD", "MS-SSIM"]
    final = published(5, "Scheduler / Sampler").loc["RFlow", [f"Overall {c}" for c in columns]]
    assert list(published(4, "Model").loc["WFDM", columns]) == list(final)
    for synthesis, schedule in ((12, 16), (13, 18), (14, 17), (15, 19)):
        ours = published(synthesis, "Model").loc["WFDM", columns]
        assert list(ours) == list(published(schedule, "Scheduler / Sampler").loc["RFlow", columns])
    timing = published(7, "Sampler").loc["RFlow", "Mean s/vol"]
    assert published(6, "Model").loc["WFDM", "Mean s/vol"] == timing


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "is missing"),
        ("", "cannot be read"),
        ("Model,FID\nWFDM,1\n", "no column 'key'"),
        ("key,Model\nwfdm,a\nwfdm,b\n", "'wfdm' is in two rows"),
    ],
)
def test_a_bad_published_table_is_told(tmp_path, text, told):
    path = tmp_path / "table7.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=told) as caught:
        read_published(path)
    assert str(path) in str(caught.value)
