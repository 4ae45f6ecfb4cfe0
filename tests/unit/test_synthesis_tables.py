"""Tables 2, 4, 5 and 12 to 15: generators, beside what the paper says of them."""

import json

import pandas as pd
import pytest

from tests.unit.judged import counted, file, synthesis_csv, wfdm_csv
from wfdm.config.study import Study, merged
from wfdm.data.table import write_csv
from wfdm.errors import UserError
from wfdm.stages import rows
from wfdm.stages import table2 as table2_stage
from wfdm.stages import table5 as table5_stage
from wfdm.stages.notes import note_of
from wfdm.tables.published import read_published
from wfdm.tables.table4 import BY_MODALITY, table4
from wfdm.tables.table5 import DESCRIBED, NAME, Scheduler, table5


@pytest.fixture
def synthesis(tmp_path):
    return wfdm_csv(tmp_path)


def test_table_4_names_the_extractor_and_the_counts(synthesis):
    made = table4({"wfdm": synthesis}, file(4), "demo", labels={"wfdm": "Reworded"})
    table = made.set_index("Model")
    row = table.loc["WFDM"]
    assert (row["FID"], row["FID published"]) == ("1.23457e-05", "0.00404259")
    assert (row["MMD"], row["MS-SSIM"], row["recognised"]) == ("", "0.750000", "1.0000")
    assert (row["FID zscore-dataset"], row["FID low"]) == ("0.125", "")
    assert (row["FID all together"], row["MMD all together"]) == ("0.375", "")
    assert row["KID all together"] == "-0.001"
    assert (row["extractor"], row["extractor_sha256"]) == ("ResNet-10 stand-in", "ab12")
    assert (row["n_real"], row["n_synthetic"], row["pairs"]) == ("4", "3", "3")
    assert (row["Output modalities"], row["note"]) == ("T1w", "FID and MMD without FLAIR; demo")
    assert table.loc["HA-GAN", "note"] == "not in this study"
    assert list(table.index) == list(read_published(file(4))["Model"])


@pytest.mark.parametrize("lacking", ["Overall", "All together"])
def test_synthesis_metrics_without_their_pooled_rows_are_told(synthesis, lacking):
    kept = pd.read_csv(synthesis)
    write_csv(kept[kept["modality"] != lacking], synthesis)
    with pytest.raises(UserError, match=f"needs one row '{lacking}'"):
        table4({"wfdm": synthesis}, file(4))


def test_tables_12_to_15_hold_who_made_the_modality(synthesis, tmp_path):
    noise = synthesis_csv(tmp_path / "noise.csv", FLAIR={"FID": 9.0, **counted(1, 1, 0)})
    found, called = {"wfdm": synthesis, "noise": noise}, {"noise": "Noise (reference)"}
    for modality, number in BY_MODALITY.items():
        table = table4(found, file(number), "", modality, called).set_index("Model")
        printed = read_published(file(number))
        made = ["Noise (reference)"] if modality == "FLAIR" else []
        assert list(table.index) == [*printed["Model"], *made]
        assert list(table["FID published"])[: len(printed)] == list(printed["FID"])
        row = table.loc["WFDM"]
        if modality == "T1w":
            assert (row["FID"], row["FID low"], row["FID high"]) == ("0.5", "0.25", "0.75")
            assert (row["n_synthetic"], row["note"]) == ("3", "")
        else:
            assert (row["FID"], row["note"]) == ("", "made none of this modality")
        assert table.loc["MAISI", "note"] == "not in this study"
    assert table.loc["Noise (reference)", "FID"] == "9"


SCHEDULERS = {
    "rflow-l2": Scheduler("RFlow", "v", "l2", 7),
    "heun": Scheduler("RFlow (heun)", "v", "l1", 9),
    "noise": Scheduler("Noise (reference)"),
}


def test_table_5_describes_each_scheduler(synthesis):
    table = table5(SCHEDULERS, dict.fromkeys(SCHEDULERS, synthesis), file(5), "demo")
    printed = read_published(file(5))
    assert list(table[NAME]) == [*printed[NAME], "RFlow (heun)", "Noise (reference)"]
    assert list(table["Overall FID published"])[:4] == list(printed["Overall FID"])
    rflow, heun, noise = (row for _, row in table.iloc[3:].iterrows())
    assert (rflow["Inference steps"], rflow["Inference steps published"]) == ("7", "50")
    assert (rflow["Overall FID"], rflow["FID all together"]) == ("1.23457e-05", "0.375")
    assert [heun[name] for name in DESCRIBED] == ["v", "l1", "9"]
    assert [noise[name] for name in DESCRIBED] == ["", "", ""]
    assert set(table["note"][:3]) == {"not in this study"}
    flair = table5(SCHEDULERS, dict.fromkeys(SCHEDULERS, synthesis), file(19), "", "FLAIR")
    assert list(flair[NAME]) == list(printed[NAME]), "rows of our own that made none are left out"
    assert flair["note"].iloc[3] == "made none of this modality"
    gadolinium = table5(SCHEDULERS, {}, file(17), "", "T1Gd")
    assert list(gadolinium["FID published"]) == list(read_published(file(17))["FID"])


def test_another_modality_has_no_table(synthesis):
    for make in (
        lambda: table4({"wfdm": synthesis}, file(12), "", "CT"),
        lambda: table5({}, {}, file(16), "", "CT"),
    ):
        with pytest.raises(UserError, match="unknown modality 'CT': use T1w"):
            make()


def study_with(**settings):
    whole = Study().model_dump(mode="json")
    generators = {name: row | {"label": name} for name, row in whole["generators"].items()}
    return Study.model_validate(merged(whole | {"generators": generators}, settings))


OURS = {"kind": "diffusion", "denoiser": "wfdm"}


def test_references_stand_last_and_rows_of_table_5_alone():
    study = study_with(generators={"theirs": {"kind": "folder", "table": "x.tsv"}})
    ddpm = ["ddpm-cosine-l1", "ddpm-cosine-l2", "ddpm-scaled-linear-l2"]
    references = ["real-train", "reconstructed", "mean", "noise"]
    models = ["wfdm", "maisi", "ldm", "med-ddpm", "wdm", "ha-gan", "maisi-mr-brain"]
    assert list(study.generators) == [*models, *ddpm, *references, "theirs"]
    assert rows.table4(study) == [*models, "theirs", *references]
    assert rows.table2(study) == [*models, "theirs"]
    rest = {name: name for name in (*ddpm, *references)}
    assert rows.table5(study) == {"rflow-l2": "wfdm"} | rest


def test_maisi_is_trained_on_what_is_placed():
    study = Study()
    assert rows.resolved(study, {}) == study
    without = rows.resolved(study, {"maisi-vae": "assets/x.pt"})
    assert without.denoisers["maisi"].compressor == "vae-gan"
    assert without.denoisers["wfdm"] == study.denoisers["wfdm"]
    alone = study_with(denoisers={"maisi": {"otherwise": None}})
    assert rows.resolved(alone, {"maisi-vae": "x"}).denoisers["maisi"].compressor == "maisi-vae"
    told = note_of(without, {"maisi-vae": "x"}, "table4")
    assert told == "denoisers: maisi.compressor vae-gan, not maisi-vae"
    assert note_of(without, {"maisi-vae": "x"}, "table5") == "", "MAISI stands in no row of it"


def test_the_stage_of_table_2_tells_what_each_model_is(tmp_path):
    study = study_with(
        generators={
            "wfdm": {"steps": 7},
            "maisi": None,
            "theirs": {"kind": "folder", "table": "theirs.tsv"},
        },
        sources=[{"kind": "bids", "path": "x"}, {"kind": "brainscape", "path": "y"}],
    )
    config, theirs = tmp_path / "config.json", tmp_path / "theirs.tsv"
    config.write_text('{"modalities": ["FLAIR", "T1w"]}')
    theirs.write_text("modality\tpath\nT2w\ta\nT2w\tb\n")
    given = [f"wfdm={config}", f"theirs={theirs}"]
    out = tmp_path / "2.csv"
    settings = table2_stage.Settings.of(study)
    table2_stage.run(settings, file(2), out, given, ["theirs=Theirs"], ["wfdm=My VAE"])
    table = pd.read_csv(out, dtype=str, keep_default_na=False).set_index("Model")
    assert list(table.index) == [*read_published(file(2))["Model"], "Theirs"]
    wfdm = table.loc["WFDM"]
    for column, ours, printed in (
        ("Conditioning", "Modality + metadata", "Modality + metadata"),
        ("Synthesis domain", "Latent (My VAE)", "Latent (WF-SA-VAE)"),
        ("Scheduler", "RFlow", "RFlow"),
        ("Steps", "7", "50"),
        ("Training source", "BIDS, BrainScape", "BrainScape"),
        ("Output modalities", "T1w, FLAIR", "T1w, T2w, T1Gd, FLAIR"),
    ):
        assert (wfdm[column], wfdm[f"{column} published"]) == (ours, printed)
    assert table.loc["Theirs", "Output modalities"] == "T2w"
    assert table.loc["MAISI", "note"] == "not in this study"
    config.write_text("{}")
    with pytest.raises(UserError, match="does not say which modalities"):
        table2_stage.run(settings, file(2), out, given)


def test_the_stage_of_table_5_takes_rows_from_the_studys_list(synthesis, tmp_path):
    settings = table5_stage.Settings.of(study_with(generators={"wfdm": {"steps": 7}}))
    out = tmp_path / "5.csv"
    given = [f"rflow-l2={synthesis}", f"noise={synthesis}"]
    table5_stage.run(settings, file(5), out, given, ["noise=Decoded noise"])
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert table["Inference steps"].tolist() == ["", "", "", "7", ""]
    assert table[NAME].iloc[4] == "Decoded noise"
    record = json.loads((tmp_path / "5.csv.prov.json").read_text())
    assert set(record["outputs"]) == {str(tmp_path / f"5.{kind}") for kind in ("csv", "md", "tex")}
    table5_stage.run(settings, file(5), out)  # of a study without any scheduler
    assert set(pd.read_csv(out)["note"]) == {"not in this study"}
