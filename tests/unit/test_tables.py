"""The published numbers agree with each other, and this study's stand beside them."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wfdm.config.data import PhantomDataset, PhantomSource, SplitSettings
from wfdm.config.evaluation import EvaluationSettings
from wfdm.config.features import FeatureNetwork
from wfdm.config.preprocess import PreprocessSettings
from wfdm.config.study import Study
from wfdm.config.volumes import VolumeSettings
from wfdm.errors import UserError
from wfdm.evaluation import floors, tables
from wfdm.evaluation.reconstruction import COLUMNS, LATENT
from wfdm.evaluation.synthesis import COLUMNS as SYNTHESIS_COLUMNS

PUBLISHED = Path(__file__).parents[2] / "config" / "published"
TEST_SCANS = {"T1w": 3414, "T2w": 867, "T1Gd": 297, "FLAIR": 815}


def published(number, index):
    return tables.read_published(PUBLISHED, number).set_index(index)


def test_all_nineteen_tables_are_there_and_rectangular():
    sizes = {number: tables.read_published(PUBLISHED, number).shape for number in range(1, 20)}
    rows = [5, 6, 10, 6, 4, 6, 4, 10, 10, 10, 10, 6, 3, 3, 3, 4, 4, 4, 4]
    assert [size[0] for size in sizes.values()] == rows


def test_published_table_1_adds_up():
    counts = published(1, "Modality").astype(int)
    assert (counts["Total"] == counts[["Train", "Val", "Test"]].sum(axis=1)).all()
    assert (counts.loc["Total"] == counts.drop("Total").sum()).all()
    assert counts["Test"].drop("Total").to_dict() == TEST_SCANS


@pytest.mark.parametrize(
    ("metric", "tolerance"), [("LPIPS", 6e-5), ("SSIM", 6e-5), ("MS-SSIM", 6e-5), ("PSNR", 6e-3)]
)
def test_published_table_3_pools_tables_8_to_11(metric, tolerance):
    numbers = {"T1w": 8, "T2w": 9, "T1Gd": 10, "FLAIR": 11}
    overall = tables.read_published(PUBLISHED, 3)[metric].astype(float)
    total = sum(TEST_SCANS.values())
    parts = [
        tables.read_published(PUBLISHED, numbers[modality])[metric].astype(float) * count / total
        for modality, count in TEST_SCANS.items()
    ]
    # Every printed cell is rounded, so the pooled value may be off by one unit in the last place.
    np.testing.assert_allclose(sum(parts), overall, atol=2 * tolerance)


def test_the_final_model_is_the_same_in_every_published_table():
    columns = ["FID", "MMD", "MS-SSIM"]
    final = published(5, "Scheduler / Sampler").loc["RFlow", [f"Overall {c}" for c in columns]]
    assert list(published(4, "Model").loc["WFDM", columns]) == list(final)
    for synthesis, schedule in ((12, 16), (13, 18), (14, 17), (15, 19)):
        ours = published(synthesis, "Model").loc["WFDM", columns]
        assert list(ours) == list(published(schedule, "Scheduler / Sampler").loc["RFlow", columns])
    timing = published(7, "Sampler").loc["RFlow", "Mean s/vol"]
    assert published(6, "Model").loc["WFDM", "Mean s/vol"] == timing


def test_a_missing_published_table_is_told(tmp_path):
    with pytest.raises(UserError, match=r"table7\.csv"):
        tables.read_published(tmp_path, 7)


def test_table_1_counts_scans_beside_the_papers():
    scans = pd.DataFrame(
        {
            "scan_id": list("abcde"),
            "dataset": "A",
            "subject": list("ppqrs"),
            "modality": ["T1w", "T1w", "T2w", "T1w", "FLAIR"],
        }
    )
    splits = pd.DataFrame(
        {
            "scan_id": list("abcde"),
            "person": list("ppqrs"),
            "split": ["train", "train", "test", "validation", "train"],
        }
    )
    table = tables.table1(scans, splits, PUBLISHED, "person", "demo").set_index("Modality")
    assert list(table.index) == ["T1w", "T2w", "FLAIR", "T1Gd", "Total"]
    ours = table[["Total", "Train", "Val", "Test"]].astype(int)
    assert ours.to_numpy().tolist() == [
        [3, 2, 1, 0],
        [1, 0, 0, 1],
        [1, 1, 0, 0],
        [0, 0, 0, 0],
        [5, 3, 1, 1],
    ]
    assert table.loc["T1w", "Train published"] == "24515"
    assert table.loc["T1Gd", "note"] == "not in this study; demo"
    assert table.loc["T1w", "reason"] == "3 scans in this study, 30965 in the paper's snapshot"


def test_table_1_refuses_a_scan_without_a_split():
    scans = pd.DataFrame(
        {"scan_id": ["a"], "dataset": ["A"], "subject": ["p"], "modality": ["T1w"]}
    )
    splits = pd.DataFrame({"scan_id": ["b"], "person": ["p"], "split": ["test"]})
    with pytest.raises(UserError, match="split"):
        tables.table1(scans, splits, PUBLISHED, "person")


def reconstruction_csv(path, psnrs, **columns):
    rows = [
        [f"A/sub-{i}_T1w", "T1w", psnr, 0.9, 0.95, 0.00123456, math.nan]
        for i, psnr in enumerate(psnrs)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).assign(**columns)
    tables.write_csv(table, path)
    return path


@pytest.fixture
def table3(tmp_path):
    floor = reconstruction_csv(tmp_path / "floors.csv", [15, 16], reference=floors.SAME_ANSWER)
    compressors = {
        "A model of ours": reconstruction_csv(tmp_path / "own.csv", [20.0]),
        "WF-SA-VAE": reconstruction_csv(tmp_path / "sa.csv", [30.0, 31.0]),
        "WDM-style DWT (1-stage)": reconstruction_csv(tmp_path / "dwt.csv", [math.inf, 90.0]),
    }
    return lambda: tables.table3(compressors, floor, PUBLISHED, "demo")


def test_table_3_puts_our_value_beside_the_published_one(table3):
    table = table3().set_index("Model")
    row = table.loc["WF-SA-VAE"]
    assert (row["PSNR"], row["PSNR published"], row["n"]) == ("30.50", "30.79", "2")
    assert (row["MSE"], row["LPIPS"], row["LPIPS published"]) == ("0.001235", "", "0.0634")
    assert row["Chans published"] == "4"
    assert row["note"].startswith("demo") and "LPIPS" in row["note"]
    assert table.loc["WDM-style DWT (1-stage) (Friedrich et al., 2024)", "PSNR"] == "inf"


def test_table_3_keeps_the_papers_order_and_puts_our_rows_last(table3):
    table = table3()
    paper = list(tables.read_published(PUBLISHED, 3)["Model"])
    assert list(table["Model"]) == [*paper, "A model of ours", floors.SAME_ANSWER]
    absent = table.set_index("Model").loc["Wavelet VAE"]
    assert (absent["PSNR"], absent["n"], absent["note"]) == ("", "", "not in this study")
    own = table.set_index("Model").loc[floors.SAME_ANSWER]
    assert (own["PSNR"], own["PSNR published"]) == ("15.50", "")
    assert "not in the paper" in own["note"]


def test_tables_8_to_11_hold_one_modality(tmp_path):
    rows = [
        [f"A/sub-{i}_{modality}", modality, psnr, 0.9, 0.95, 0.001, 0.1, "1/4", 4]
        for i, (modality, psnr) in enumerate((("T1w", 20.0), ("T1w", 22.0), ("FLAIR", 30.0)))
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *LATENT])
    tables.write_csv(table, tmp_path / "wf.csv")
    floor = reconstruction_csv(tmp_path / "floors.csv", [15], reference=floors.SAME_ANSWER)
    for modality, number in tables.BY_MODALITY.items():
        made = tables.table3({"WF-VAE": tmp_path / "wf.csv"}, floor, PUBLISHED, "", modality)
        row = made.set_index("Model").loc["WF-VAE"]
        printed = published(number, "Model").loc["WF-VAE"]
        assert row["PSNR published"] == printed["PSNR"]
        scans = table[table["modality"] == modality]
        assert row["n"] == str(len(scans))
        wanted = f"{scans['PSNR'].mean():.2f}" if len(scans) else ""
        assert row["PSNR"] == wanted
        assert "clamped to [0, 1], MSE unclamped" in row["note"]
    flair = tables.table3({"WF-VAE": tmp_path / "wf.csv"}, floor, PUBLISHED, "", "FLAIR")
    cells = flair.set_index("Model").loc["WF-VAE"]
    assert (cells["Compression"], cells["Latent chans"]) == ("1/4", "4")
    assert cells["LPIPS"] == "0.1000" and "LPIPS: not measured" not in cells["note"]


def test_tables_are_the_same_bytes_every_time(table3, tmp_path):
    for name in ("a", "b"):
        tables.write_csv(table3(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_table_4_names_the_extractor_and_the_counts(tmp_path):
    common = {"extractor": "ResNet-10 stand-in", "extractor_sha256": "ab12", "seed": 42}
    rows = [
        dict.fromkeys(SYNTHESIS_COLUMNS)
        | {"modality": "T1w", "n_real": 3, "n_synthetic": 3, "FID": 0.5, "pairs": 3, **common},
        dict.fromkeys(SYNTHESIS_COLUMNS)
        | {"modality": "FLAIR", "n_real": 1, "n_synthetic": 0, "pairs": 0, **common},
        {
            "modality": "Overall",
            "n_real": 4,
            "n_synthetic": 3,
            "FID": 0.0000123456789,
            "MMD": math.nan,
            "MS-SSIM": 0.75,
            "pairs": 3,
            "recognised": 1.0,
            **common,
            "note": "FID and MMD without FLAIR",
        },
    ]
    tables.write_csv(pd.DataFrame(rows, columns=list(SYNTHESIS_COLUMNS)), tmp_path / "wfdm.csv")
    table = tables.table4({"WFDM": tmp_path / "wfdm.csv"}, PUBLISHED, "demo").set_index("Model")
    row = table.loc["WFDM"]
    assert (row["FID"], row["FID published"]) == ("1.23457e-05", "0.00404259")
    assert (row["MMD"], row["MS-SSIM"], row["recognised"]) == ("", "0.750000", "1.0000")
    assert (row["extractor"], row["extractor_sha256"]) == ("ResNet-10 stand-in", "ab12")
    assert (row["n_real"], row["n_synthetic"], row["pairs"]) == ("4", "3", "3")
    assert (row["Output modalities"], row["note"]) == ("T1w", "FID and MMD without FLAIR; demo")
    assert table.loc["HA-GAN", "note"] == "not in this study"


def test_the_papers_study_differs_in_nothing_and_a_demo_says_how():
    assert tables.differences(Study()) == ""
    demo = Study(
        sources=[
            PhantomSource(
                kind="phantom",
                datasets=[
                    PhantomDataset(
                        name="A", people=1, modalities={"T1w": 1.0}, voxel_mm=(1.0, 1.0, 1.0)
                    )
                ],
            )
        ],
        volume=VolumeSettings(shape=(96, 112, 80)),
        preprocess=PreprocessSettings(spacing=2.0),
        evaluation=EvaluationSettings(features=FeatureNetwork(depth=10, weights=None)),
    )
    told = tables.differences(demo)
    for word in ("phantom", "96x112x80", "2 mm", "stand-in"):
        assert word in told
    assert "training" not in told
    leaking = Study(split=SplitSettings(rule="published"))
    assert "leaks people" in tables.differences(leaking)


def test_metrics_hold_only_what_this_study_measured(tmp_path):
    path = tmp_path / "table4.csv"
    path.write_text(
        "Model,FID,FID published,n,note\nWFDM,0.5,0.004,7,\nMAISI,,0.0055,,not in this study\n"
    )
    assert tables.metrics({"table4": path}) == {"table4": {"WFDM": {"FID": 0.5}}}
