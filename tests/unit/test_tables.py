"""This study's numbers beside the published ones, and the stages that write the tables."""

import json
import math

import pandas as pd
import pytest

from tests.unit.judged import file, wfdm_csv
from wfdm.config.study import Study
from wfdm.data.table import columns, write_csv, write_scans, write_table
from wfdm.errors import UserError
from wfdm.evaluation import floors
from wfdm.evaluation.reconstruction import COLUMNS, LATENT
from wfdm.stages import metrics as metrics_stage
from wfdm.stages import table1 as table1_stage
from wfdm.stages import table3 as table3_stage
from wfdm.stages import table4 as table4_stage
from wfdm.tables import table3 as reconstruction
from wfdm.tables.metrics import metrics
from wfdm.tables.published import read_published
from wfdm.tables.table1 import table1


def published(number, index):
    return read_published(file(number)).set_index(index)


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
    table = table1(scans, splits, file(1), "person", "demo").set_index("Modality")
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
        table1(scans, splits, file(1), "person")


def reconstruction_csv(path, psnrs, **columns):
    rows = [
        [f"A/sub-{i}_T1w", "T1w", psnr, 0.9, 0.95, 0.00123456, math.nan]
        for i, psnr in enumerate(psnrs)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).assign(**columns)
    write_csv(table, path)
    return path


@pytest.fixture
def files(tmp_path):
    """Per-scan metrics by the key of what made them: three of the paper's rows, one of our own."""
    found = {
        "mine": reconstruction_csv(tmp_path / "own.csv", [20.0]),
        "wf-sa-vae": reconstruction_csv(tmp_path / "sa.csv", [30.0, 31.0]),
        "dwt-1": reconstruction_csv(tmp_path / "dwt.csv", [math.inf, 90.0]),
    }
    floor = reconstruction_csv(tmp_path / "floors.csv", [15, 16], reference=floors.SAME_ANSWER)
    return found | {"floor": floor}


@pytest.fixture
def table3(files):
    floor = files.pop("floor")

    def make(**labels):
        called = {"mine": "A model of ours", "wf-sa-vae": "WF-SA-VAE"} | labels
        return reconstruction.table3(files, floor, file(3), "demo", labels=called)

    return make


def test_table_3_puts_our_value_beside_the_published_one(table3):
    table = table3().set_index("Model")
    note = f"demo; LPIPS: not measured, evaluation.lpips is null; {reconstruction.RANGES}"
    assert table.loc["WF-SA-VAE"].to_dict() == {
        "Comp": "",
        "Comp published": "1/4",
        "Chans": "",
        "Chans published": "4",
        "LPIPS": "",
        "LPIPS published": "0.0634",
        "SSIM": "0.9000",
        "SSIM published": "0.9646",
        "MS-SSIM": "0.9500",
        "MS-SSIM published": "0.9947",
        "PSNR": "30.50",
        "PSNR published": "30.79",
        "MSE": "0.001235",
        "MSE published": "0.000885",
        "n": "2",
        "Training dataset published": "BrainScape",
        "note": note,
    }
    assert list(table.columns) == list(table.loc["WF-SA-VAE"].to_dict())
    assert table.loc["WDM-style DWT (1-stage) (Friedrich et al., 2024)", "PSNR"] == "inf"


def test_table_3_keeps_the_papers_order_and_puts_our_rows_last(table3):
    table = table3()
    paper = list(read_published(file(3))["Model"])
    assert list(table["Model"]) == [*paper, "A model of ours", floors.SAME_ANSWER]
    absent = table.set_index("Model").loc["Wavelet VAE"]
    assert (absent["PSNR"], absent["n"], absent["note"]) == ("", "", "not in this study")
    own = table.set_index("Model").loc[floors.SAME_ANSWER]
    assert (own["PSNR"], own["PSNR published"]) == ("15.50", "")
    assert own["note"].startswith("not in the paper; demo; ")


def test_a_reworded_label_keeps_its_published_values(table3):
    pd.testing.assert_frame_equal(table3(**{"wf-sa-vae": "Ours, reworded"}), table3())


def test_a_row_of_our_own_never_takes_the_papers_name_or_values(table3):
    table = table3(mine="WF-VAE").set_index("Model")
    assert table.index.is_unique
    assert table.loc["WF-VAE", ["PSNR", "PSNR published", "note"]].tolist() == [
        "",
        "29.65",
        "not in this study",
    ]
    own = table.loc["WF-VAE [mine]"]
    assert (own["PSNR"], own["PSNR published"]) == ("20.00", "")
    assert own["note"].startswith("not in the paper")


def test_tables_8_to_11_hold_one_modality(tmp_path):
    rows = [
        [f"A/sub-{i}_{modality}", modality, psnr, 0.9, 0.95, 0.001, 0.1, "1/4", 4]
        for i, (modality, psnr) in enumerate((("T1w", 20.0), ("T1w", 22.0), ("FLAIR", 30.0)))
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *LATENT])
    write_csv(table, tmp_path / "wf.csv")
    floor = reconstruction_csv(tmp_path / "floors.csv", [15], reference=floors.SAME_ANSWER)
    rows = {"wf-vae": tmp_path / "wf.csv"}
    for modality, number in reconstruction.BY_MODALITY.items():
        made = reconstruction.table3(rows, floor, file(number), "", modality)
        row = made.set_index("Model").loc["WF-VAE"]
        printed = published(number, "Model").loc["WF-VAE"]
        assert row["PSNR published"] == printed["PSNR"]
        scans = table[table["modality"] == modality]
        assert row["n"] == str(len(scans))
        wanted = f"{scans['PSNR'].mean():.2f}" if len(scans) else ""
        assert row["PSNR"] == wanted
        assert "clamped to [0, 1], MSE unclamped" in row["note"]
    flair = reconstruction.table3(rows, floor, file(11), "", "FLAIR")
    cells = flair.set_index("Model").loc["WF-VAE"]
    assert (cells["Compression"], cells["Latent chans"]) == ("1/4", "4")
    assert cells["LPIPS"] == "0.1000" and "LPIPS: not measured" not in cells["note"]


def test_tables_are_the_same_bytes_every_time(table3, tmp_path):
    for name in ("a", "b"):
        write_csv(table3(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read"),
        ("", "cannot be read"),
        ("modality,SSIM,MS-SSIM,MSE,LPIPS\n", "no column 'PSNR'"),
    ],
)
def test_bad_metrics_are_told(files, text, told):
    files["mine"].unlink()
    if text is not None:
        files["mine"].write_text(text)
    with pytest.raises(UserError, match=told) as caught:
        reconstruction.table3({"mine": files["mine"]}, files["floor"], file(3))
    assert str(files["mine"]) in str(caught.value)


def test_metrics_hold_only_what_this_study_measured(tmp_path):
    path = tmp_path / "table4.csv"
    path.write_text(
        "Model,FID,FID published,n,note\nWFDM,0.5,0.004,7,\nMAISI,,0.0055,,not in this study\n"
    )
    assert metrics({"table4": path}) == {"table4": {"WFDM": {"FID": 0.5}}}


@pytest.fixture
def synthesis(tmp_path):
    return wfdm_csv(tmp_path)


def test_the_stages_write_tables_their_records_and_metrics(files, synthesis, tmp_path):
    three, four, numbers = (tmp_path / name for name in ("3.csv", "4.csv", "metrics.json"))
    row = [f"{name}={files[name]}" for name in ("mine", "wf-sa-vae")]
    label = ["mine=A model = ours", "wf-sa-vae=Reworded"]
    table3_stage.run(row, files["floor"], file(3), three, label, "demo")
    table4_stage.run([f"wfdm={synthesis}"], file(4), four)
    metrics_stage.run([f"table3={three}", f"table4={four}"], numbers)
    made = pd.read_csv(three).set_index("Model")
    assert made.loc["WF-SA-VAE", ["PSNR", "PSNR published"]].tolist() == [30.5, 30.79]
    assert made.loc["A model = ours", "PSNR"] == 20
    measured = {"SSIM": 0.9, "MS-SSIM": 0.95, "MSE": 0.001235}
    assert json.loads(numbers.read_text()) == {
        "table3": {
            "WF-SA-VAE": measured | {"PSNR": 30.5},
            "A model = ours": measured | {"PSNR": 20.0},
            floors.SAME_ANSWER: measured | {"PSNR": 15.5},
        },
        "table4": {"WFDM": {"FID": 1.23457e-05, "MS-SSIM": 0.75}},
    }
    record = json.loads((tmp_path / "3.csv.prov.json").read_text())
    assert set(record["inputs"]) == {
        *map(str, (files["mine"], files["wf-sa-vae"])),
        *(str(path) for path in (files["floor"], file(3))),
    }
    assert record["settings"]["labels"] == {"mine": "A model = ours", "wf-sa-vae": "Reworded"}


@pytest.mark.parametrize(
    ("label", "modality", "told"),
    [
        (["other=x"], None, "label of 'other': there is mine, dwt-1"),
        (["mine=x", "dwt-1=x"], None, "'x' is the label of mine and dwt-1"),
        (["mine"], None, "NAME=VALUE"),
        ([], "CT", "unknown modality 'CT': use T1w, T2w, T1Gd, FLAIR"),
    ],
)
def test_bad_arguments_are_told_and_write_nothing(files, tmp_path, label, modality, told):
    row = [f"{name}={files[name]}" for name in ("mine", "dwt-1")]
    with pytest.raises(UserError, match=told):
        table3_stage.run(row, files["floor"], file(3), tmp_path / "3.csv", label, "", modality)
    assert not (tmp_path / "3.csv").exists()


def test_the_stage_of_table_1_counts_the_scan_table(tmp_path):
    scan = dict.fromkeys(columns(), "") | {"dataset": "A", "group": "0", "state": "raw"}
    rows = [
        scan
        | {"scan_id": f"A/sub-{subject}_{modality}", "subject": subject, "person": f"A/{subject}"}
        | {"modality": modality, "path": f"{subject}.nii.gz"}
        for subject, modality in (("1", "T1w"), ("1", "FLAIR"), ("2", "T1w"))
    ]
    write_scans(pd.DataFrame(rows), tmp_path / "scans.tsv")
    splits = pd.DataFrame(rows)[["scan_id", "person"]]
    splits = splits.assign(split=["train", "train", "test"], leak="")
    write_table(splits, tmp_path / "splits.tsv")
    settings = table1_stage.Settings.of(Study())
    out = tmp_path / "1.csv"
    table1_stage.run(
        settings, tmp_path / "scans.tsv", tmp_path / "splits.tsv", file(1), out, "demo"
    )
    made = pd.read_csv(out).set_index("Modality")
    ours = made[["Total", "Train", "Val", "Test"]]
    assert ours.loc["T1w"].tolist() == [2, 1, 0, 1]
    assert ours.loc["Total"].tolist() == [3, 2, 0, 1]
    assert made.loc["T2w", "note"] == "not in this study; demo"
    assert json.loads((tmp_path / "1.csv.prov.json").read_text())["settings"]["rule"] == "person"
