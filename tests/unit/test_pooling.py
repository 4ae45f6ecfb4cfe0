"""Metrics of all modalities together, against the paper's own tables."""

import math
from pathlib import Path

import pytest

from wfdm.evaluation.distribution import pooled
from wfdm.tables.published import read_published

PUBLISHED = Path(__file__).parents[2] / "config" / "published"
# Rounding of the printed parts and of the printed whole: one unit of the whole's last place.
LAST_PLACE = {"FID": 1e-7, "MMD": 1e-6, "MS-SSIM": 1e-6}
TEST_SCANS = {"T1w": 3414, "T2w": 867, "T1Gd": 297, "FLAIR": 815}


@pytest.mark.parametrize("model", ["WFDM", "MAISI", "Med-DDPM"])
@pytest.mark.parametrize("metric", ["FID", "MMD", "MS-SSIM"])
def test_pooling_reproduces_table_4_from_tables_12_to_15(model, metric):
    per_modality = [
        read_published(PUBLISHED / f"table{number}.csv").set_index("Model")
        for number in range(12, 16)
    ]
    values = [float(table.loc[model, metric]) for table in per_modality]
    overall = read_published(PUBLISHED / "table4.csv").set_index("Model").loc[model, metric]
    assert pooled(values, list(TEST_SCANS.values())) == pytest.approx(
        float(overall), abs=LAST_PLACE[metric]
    )


@pytest.mark.parametrize("row", range(4))
def test_pooling_reproduces_table_5_from_tables_16_to_19(row):
    numbers = {"T1w": 16, "T1Gd": 17, "T2w": 18, "FLAIR": 19}
    overall = read_published(PUBLISHED / "table5.csv").iloc[row]
    for metric in ("FID", "MMD", "MS-SSIM"):
        values = [
            float(read_published(PUBLISHED / f"table{numbers[modality]}.csv").iloc[row][metric])
            for modality in TEST_SCANS
        ]
        expected = float(overall[f"Overall {metric}"])
        assert pooled(values, list(TEST_SCANS.values())) == pytest.approx(
            expected, abs=LAST_PLACE[metric]
        )


def test_pooling_leaves_undefined_values_out():
    assert pooled([1.0, math.nan, 4.0], [1, 100, 2]) == pytest.approx(3.0)
    assert math.isnan(pooled([math.nan], [3]))
    assert math.isnan(pooled([1.0], [0]))
