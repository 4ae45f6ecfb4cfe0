"""The tiny study from raw scans to tables: runs, repeats nothing, resumes, can be audited."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tests.workflow.conftest import LAB, Workflow, planned

pytestmark = pytest.mark.slow

TABLES = [f"table{number}" for number in range(1, 20)]
MEASURED = {  # rows that this study measures, in the tables' order
    "table3": [
        "WF-SA-VAE",
        "DWT reference (2-stage)",
        "Mean training volume (reference)",
        "Mean training volume of the modality (reference)",
    ],
    "table4": ["WFDM", "Decoded noise (reference)"],
}


def test_everything_is_made(finished):
    made = finished.results
    scans = pd.read_csv(made / "data/scans.tsv", sep="\t")
    splits = pd.read_csv(made / "data/splits.tsv", sep="\t")
    assert list(splits["scan_id"]) == list(scans["scan_id"])
    assert {path.stem for path in (made / "tables").glob("*.csv")} == {*TABLES, "differences"}
    for kind in ("md", "tex"):
        assert {path.stem for path in (made / "tables").glob(f"*.{kind}")} == set(TABLES)

    table1 = pd.read_csv(made / "tables/table1.csv").set_index("Modality")
    assert list(table1.index) == ["T1w", "T2w", "FLAIR", "T1Gd", "Total"]
    counts = Counter(zip(scans["modality"], splits["split"], strict=True))
    for modality in ("T1w", "T2w", "FLAIR", "T1Gd"):
        found = table1.loc[modality, ["Train", "Val", "Test"]]
        assert list(found) == [counts[modality, s] for s in ("train", "validation", "test")]

    tested = int((splits["split"] == "test").sum())
    for name, column, score in (("table3", "n", "PSNR"), ("table4", "n_synthetic", "FID")):
        table = pd.read_csv(made / "tables" / f"{name}.csv")
        measured = table[table[column].notna()]
        assert list(measured["Model"]) == MEASURED[name]
        assert list(measured[column]) == [tested] * len(measured)
        assert np.isfinite(measured[score]).all()
        assert set(table.loc[table[column].isna(), "note"]) == {"not in this study"}

    models = pd.read_csv(made / "tables/table2.csv").set_index("Model")
    assert list(models.loc["WFDM", ["Synthesis domain", "Scheduler", "Steps"]]) == [
        *("Latent (WF-SA-VAE)", "RFlow", 3),
    ]
    pooled = pd.read_csv(made / "tables/table4.csv").set_index("Model").loc["WFDM"]
    flow = pd.read_csv(made / "tables/table5.csv").set_index("Scheduler / Sampler").loc["RFlow"]
    parts = [pd.read_csv(made / f"tables/table{n}.csv").set_index("Model") for n in range(12, 16)]
    assert flow["Overall FID"] == pooled["FID"]
    assert sum(part.loc["WFDM", ["n_synthetic"]].fillna(0).sum() for part in parts) == tested

    for name, index in (("table6", "Model"), ("table7", "Sampler")):
        times = pd.read_csv(made / f"tables/{name}.csv").set_index(index)
        row = times.loc["WFDM" if name == "table6" else "RFlow"]
        assert row["Mean s/vol published"] == 2.161 and row["Steps"] == 3
        on_cpu = "timed on a CPU" in row["note"]
        told = row[["Mean s/vol, CPU", "Mean s/vol"]].astype(float)
        assert list(np.isfinite(told)) == [on_cpu, not on_cpu]

    for name in (f"figure{number}" for number in range(1, 8)):
        assert (made / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (made / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for name in ("index_report", "people", "coverage", "near_duplicates"):
        assert (made / "data" / f"{name}.tsv").read_text().count("\t")
    assert pd.read_csv(made / "data/leaks.tsv", sep="\t").empty
    for name in ("compressors/wf-sa-vae", "denoisers/wfdm"):
        history = pd.read_csv(made / name / "history.csv")
        assert list(history["step"]) == [2, 4, 6]
        assert np.isfinite(history["val_loss"]).all()


def test_again_runs_no_job(finished):
    assert "Nothing to be done" in finished.run("all")


def test_volumes_keep_their_contract(finished):
    volumes = pd.read_csv(finished.results / "preprocessed/volumes.tsv", sep="\t")
    scans = pd.read_csv(finished.results / "data/scans.tsv", sep="\t")
    assert set(volumes["scan_id"]) == set(scans["scan_id"])
    for path in volumes["path"]:
        image = nib.load(finished.folder / path)
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        data = image.get_fdata()
        assert data.min() >= 0 and 0.9 < data.max() <= 1


def test_every_session_has_a_record_a_log_and_a_picture(finished):
    scans = pd.read_csv(finished.results / "data/scans.tsv", sep="\t", dtype=str)
    wanted = len(scans.fillna("").drop_duplicates(["dataset", "subject", "session"]))
    assert len(records(finished)) == wanted
    for record in records(finished):
        place = record.relative_to(finished.results / "preprocessed")
        prefix = record.name.removesuffix("_desc-preproc.prov.json")
        log = finished.results / "logs/preprocess" / place.parent / f"{prefix}.log"
        assert "Dice with the atlas" in log.read_text()
        assert list(record.parent.glob(f"{prefix}*.png"))


def test_samples_are_labelled_synthetic(finished):
    samples = pd.read_csv(finished.results / "samples/wfdm/samples.tsv", sep="\t")
    splits = pd.read_csv(finished.results / "data/splits.tsv", sep="\t")
    assert set(samples["scan_id"]) == set(splits.loc[splits["split"] == "test", "scan_id"])
    for path in samples["path"]:
        volume = finished.folder / path
        sidecar = json.loads(volume.with_name(volume.name.replace(".nii.gz", ".json")).read_text())
        assert sidecar["Synthetic"] is True
        assert np.isfinite(nib.load(volume).get_fdata()).all()


@pytest.mark.parametrize("root", ["preprocessed", "samples/wfdm"])
def test_outputs_are_bids_derivatives(made, root):
    pytest.importorskip("bids_validator_deno")
    datasets = [path.parent for path in (made.results / root).glob("*/dataset_description.json")]
    assert datasets
    for dataset in datasets:
        program = Path(sys.executable).with_name("bids-validator-deno")
        command = [program, dataset, "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True)
        issues = json.loads(done.stdout)["issues"]["issues"]
        assert [each for each in issues if each["severity"] == "error"] == []
        assert done.returncode == 0
        told = json.loads((dataset / "dataset_description.json").read_text())
        assert told["DatasetType"] == "derivative"


def test_sample_on_request(finished, tmp_path):
    ask = ("sample", "--checkpoint", finished.results / "denoisers/wfdm", "--modality", "FLAIR")
    code, told = finished.wfdm(
        *ask, "--age", 60, "--sex", "female", "-n", 2, "--out", tmp_path, "--steps", 2
    )
    assert code == 1 and "FLAIR" in told, "no FLAIR was trained on, so none is promised"
    ask = (*ask[:-1], "T1w")
    code, told = finished.wfdm(
        *ask, "--age", 60, "--sex", "female", "-n", 2, "--out", tmp_path, "--steps", 2
    )
    assert code == 0, told
    volumes = sorted(tmp_path.rglob("*_T1w.nii.gz"))
    assert len(volumes) == 2
    first, second = (nib.load(path).get_fdata() for path in volumes)
    assert not np.array_equal(first, second)
    sidecar = json.loads(
        volumes[0].with_name(volumes[0].name.replace(".nii.gz", ".json")).read_text()
    )
    assert sidecar["Synthetic"] is True


def records(workflow: Workflow) -> dict[Path, int]:
    """The time of each preprocessed session's record."""
    found = (workflow.results / "preprocessed").rglob("sub-*_desc-preproc.prov.json")
    return {path: path.stat().st_mtime_ns for path in found}


def redone(workflow: Workflow, before: dict[Path, int]) -> list[str]:
    """The sessions whose record was written anew."""
    return [
        path.name.partition("_desc")[0]
        for path, t in records(workflow).items()
        if before[path] != t
    ]


VOLUMES = "results/tiny/preprocessed/volumes.tsv"
AFTER_VOLUMES = {  # jobs that follow from other volumes: no split, no table of people
    **{"image_hash": 2, "near_duplicates": 1, "train_compressor": 2, "encode": 2, "latents": 1},
    **{"train_denoiser": 1, "sample": 4, "samples": 2, "mean_volumes": 1, "floors": 2},
    **{"reconstruction": 4, "join": 3, "features": 6, "diversity": 4, "synthesis": 2},
    **{"table3": 1, "table4": 1, "table8to11": 4, "metrics": 1, "figure2": 1, "figure3": 1},
    **{"table2": 1, "table12to15": 4, "table5": 1, "table16to19": 4, "figure4to7": 4},
}
GATHERED = {"quality": 1, "volumes": 1}
# Jobs that follow from a setting that is not the paper's, for the tables tell of it.
TOLD = {
    **{"differences": 1, "table3": 1, "table4": 1, "table5": 1, "metrics": 1},
    **{"table8to11": 4, "table12to15": 4, "table16to19": 4},
}


def test_a_changed_raw_scan_redoes_its_session_and_what_follows(finished, tmp_path):
    workflow = finished.twin(tmp_path)
    scan = tmp_path / f"data/LAB/sub-{LAB[0]}/anat/sub-{LAB[0]}_T1w.nii.gz"
    image = nib.load(scan)
    nib.save(nib.Nifti1Image(image.get_fdata() + 1, image.affine), scan)
    assert workflow.plan() == {"preprocess": 1, **GATHERED, **AFTER_VOLUMES}
    before = records(workflow)
    workflow.run(VOLUMES)
    assert redone(workflow, before) == [f"sub-{LAB[0]}"]


def test_what_comes_out_as_it_was_redoes_nothing(finished, tmp_path):
    workflow = finished.twin(tmp_path)
    os.utime(tmp_path / f"data/LAB/sub-{LAB[0]}/anat/sub-{LAB[0]}_T1w.nii.gz")
    before = records(workflow)
    printed = workflow.run(VOLUMES)
    assert planned(printed) == {"preprocess": 1, "volumes": 1}
    assert not redone(workflow, before)
    assert workflow.plan() == {}, "its table holds the same bytes"

    workflow = workflow.over(quality={"policy": "skip"})
    assert workflow.plan(VOLUMES) == {"volumes": 1}
    workflow.run(VOLUMES)
    assert workflow.plan() == TOLD

    # In one go what follows has its turn too: a training finds that it is done.
    weights = workflow.results / "compressors/wf-sa-vae/model.safetensors"
    state = weights.parent / "last/state.safetensors"
    kept, made = weights.read_bytes(), state.stat().st_mtime_ns
    os.utime(tmp_path / f"data/LAB/sub-{LAB[1]}/anat/sub-{LAB[1]}_T1w.nii.gz")
    printed = workflow.run(str(weights.relative_to(workflow.folder)))
    assert planned(printed) == {"preprocess": 1, "volumes": 1, "train_compressor": 1}
    assert weights.read_bytes() == kept and state.stat().st_mtime_ns == made


def test_an_exclusion_redoes_no_session(finished, tmp_path):
    workflow = finished.twin(tmp_path)
    (tmp_path / "exclusions.tsv").write_text(f"key\treason\nLAB/sub-{LAB[0]}\ta test\n")
    assert workflow.plan() == {"preprocess": 1, **GATHERED, **AFTER_VOLUMES}
    before = records(workflow)
    kept = set(pd.read_csv(tmp_path / VOLUMES, sep="\t")["scan_id"])
    workflow.run(VOLUMES)
    assert not redone(workflow, before)
    left = set(pd.read_csv(tmp_path / VOLUMES, sep="\t")["scan_id"])
    assert kept - left == {f"LAB/sub-{LAB[0]}_T1w"} and not left - kept


KILLED = {  # stage: where its results lie, what is asked for, what shows it in the middle of it
    "preprocess": ("preprocessed", "volumes.tsv", "**/sub-*_desc-preproc.prov.json"),
    "train-compressor": ("compressors/wf-sa-vae", "model.safetensors", "last/state.safetensors"),
    "encode": ("latents/wf-sa-vae", "index.tsv", ".partial-*.npy"),
    "train-denoiser": ("denoisers/wfdm", "model.safetensors", "last/state.safetensors"),
    "sample-test": ("samples/wfdm", "samples.tsv", "**/sub-*.json"),  # written after its volume
    "reconstruction": ("evaluation/reconstruction/wf-sa-vae", "../wf-sa-vae.csv", ".partial-*"),
}
MADE = ("volumes.tsv", "index.tsv", "samples.tsv", ".nii.gz", ".npy", ".csv", "model.safetensors")


def kill_during(workflow: Workflow, stage: str, target: str, folder: Path, sign: str) -> list[Path]:
    """SIGKILL everything in the middle of `stage`; return what it had done, empty when too late."""
    process = workflow.start(target)
    try:
        while process.poll() is None:
            # In this order: what is seen while the stage runs was there while it ran.
            found = list(folder.glob(sign))
            if found and any(f"wfdm {stage} " in line for line in commands(process.pid)):
                return found
            time.sleep(0.02)
        return []
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def commands(group: int) -> Iterator[str]:
    """The command lines of the processes of a group."""
    for entry in os.listdir("/proc"):
        try:
            if os.getpgid(int(entry)) == group:
                command = Path("/proc", entry, "cmdline").read_bytes()
                yield command.replace(b"\0", b" ").decode(errors="replace")
        except (ValueError, ProcessLookupError, FileNotFoundError):
            continue


def test_killed_in_every_long_stage_ends_in_the_same_files(finished, tmp_path):
    workflow = finished.twin(tmp_path)
    for stage, (place, name, sign) in KILLED.items():
        folder = workflow.results / place
        wanted = {path.relative_to(folder): path.read_bytes() for path in made(folder)}
        shutil.rmtree(folder)
        target = os.path.relpath(folder / name, workflow.folder)
        (workflow.folder / target).unlink(missing_ok=True)
        done = kill_during(workflow, stage, target, folder, sign)
        assert done, f"{stage} was not seen at work"
        # What a training or a shard goes on from is written anew, or gone, in the meantime.
        kept = done if stage in ("preprocess", "sample-test") else []
        times = {path: path.stat().st_mtime_ns for path in kept}
        workflow.run(target)
        assert {path.relative_to(folder): path.read_bytes() for path in made(folder)} == wanted
        assert {path: path.stat().st_mtime_ns for path in kept} == times, "done twice"
        if stage.startswith("train"):
            log = workflow.results / "logs" / stage.replace("-", "_") / f"{folder.name}.log"
            assert "continuing after step" in log.read_text()
    # The quality page lay in a folder that is removed above; every table and figure is what it was.
    assert workflow.plan() == {"quality": 1}


def made(folder: Path) -> list[Path]:
    """The results under a folder that hold no times; a dot marks what a killed job left."""
    found = (path for path in folder.rglob("*") if path.name.endswith(MADE))
    return [path for path in found if not path.name.startswith(".")]
