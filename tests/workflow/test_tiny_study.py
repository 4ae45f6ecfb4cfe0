"""The tiny study from raw phantoms to tables: runs, repeats nothing, resumes, can be audited."""

import json
import os
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import Workflow

pytestmark = pytest.mark.slow


def test_everything_is_made(finished):
    made = finished.results
    for name in ("table1.csv", "table3.csv", "table4.csv"):
        assert len(pd.read_csv(made / "tables" / name))
    for name in ("figure2", "figure3"):
        assert (made / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (made / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for name in ("index_report", "people", "coverage", "leaks", "near_duplicates"):
        assert (made / "data" / f"{name}.tsv").read_text().count("\t")
    assert len(pd.read_csv(made / "data/leaks.tsv", sep="\t")) == 0
    history = pd.read_csv(made / "compressors/wf-sa-vae/history.csv")
    assert history["val_loss"].notna().any()


def test_again_runs_no_job(finished):
    assert "Nothing to be done" in finished.run("all")


def test_volumes_keep_their_contract(finished):
    volumes = pd.read_csv(finished.results / "preprocessed/volumes.tsv", sep="\t")
    for path in volumes["path"]:
        image = nib.load(path)
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        data = image.get_fdata()
        assert data.min() >= 0 and 0.9 < data.max() <= 1


def test_samples_are_labelled_synthetic(finished):
    samples = pd.read_csv(finished.results / "samples/wfdm/samples.tsv", sep="\t")
    splits = pd.read_csv(finished.results / "data/splits.tsv", sep="\t")
    assert set(samples["scan_id"]) == set(splits.loc[splits["split"] == "test", "scan_id"])
    for path in samples["path"]:
        sidecar = json.loads(Path(path.replace(".nii.gz", ".json")).read_text())
        assert sidecar["Synthetic"] is True
        assert np.isfinite(nib.load(path).get_fdata()).all()


def test_an_edit_of_the_evaluation_reruns_only_evaluation(finished, tmp_path):
    over = tmp_path / "over.yaml"
    over.write_text(yaml.safe_dump({"evaluation": {"diversity_pairs": 1}}))
    workflow = Workflow(finished.folder, over)
    printed = workflow.run("--dry-run", "all")
    table = printed[printed.index("Job stats") :].split("\n\n")[0]
    jobs = {line.split()[0] for line in table.splitlines()[3:]} - {"total"}
    assert jobs == {"all", "synthesis", "table4", "metrics"}


def test_audit_from_the_table_to_the_atlas(finished, wfdm):
    table = finished.results / "tables/table4.csv"
    code, told = wfdm("audit", table)
    assert code == 0, told
    raw = next((finished.results / "raw").rglob("*_T1w.nii.gz"))
    kept = raw.read_bytes()
    raw.write_bytes(kept[:-1] + b"x")
    try:
        code, told = wfdm("audit", table)
    finally:
        raw.write_bytes(kept)
    assert code == 1 and raw.name in told and len(told.splitlines()) == 1


def test_sample_on_request(finished, wfdm, tmp_path):
    ask = ("sample", "--checkpoint", finished.results / "generators/wfdm", "--modality", "FLAIR")
    code, told = wfdm(
        *ask, "--age", 60, "--sex", "female", "-n", 2, "--out", tmp_path, "--steps", 2
    )
    assert code == 0, told
    volumes = sorted(tmp_path.rglob("*_FLAIR.nii.gz"))
    assert len(volumes) == 2
    first, second = (nib.load(path).get_fdata() for path in volumes)
    assert not np.array_equal(first, second)
    sidecar = json.loads(
        volumes[0].with_name(volumes[0].name.replace(".nii.gz", ".json")).read_text()
    )
    assert sidecar["Synthetic"] is True


STAGES = ("preprocess", "train-compressor", "train-diffusion", "sample-test")


def kill_during(workflow: Workflow, stage: str) -> bool:
    """Start the study; SIGKILL everything once `stage` has worked for a moment."""
    process = workflow.start("all")
    try:
        while process.poll() is None:
            if _running(process.pid, f"wfdm {stage}") and _running(process.pid, stage):
                time.sleep(4)  # into its work, past its imports
                return process.poll() is None
            time.sleep(0.2)
        return False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _running(group: int, word: str) -> bool:
    for entry in os.listdir("/proc"):
        try:
            if os.getpgid(int(entry)) != group:
                continue
            with open(f"/proc/{entry}/cmdline", "rb") as stream:
                if word in stream.read().replace(b"\0", b" ").decode(errors="replace"):
                    return True
        except (ValueError, ProcessLookupError, FileNotFoundError):
            continue
    return False


def test_killed_in_every_long_stage_ends_in_the_same_tables(finished, tmp_path):
    workflow = Workflow(tmp_path)
    killed = [stage for stage in STAGES if kill_during(workflow, stage)]
    assert killed == list(STAGES)
    workflow.run("all")
    for name in ("table1.csv", "table3.csv", "table4.csv"):
        undisturbed = (finished.results / "tables" / name).read_bytes()
        assert (workflow.results / "tables" / name).read_bytes() == undisturbed
