"""DVC: the snapshot in a remote and back, and two revisions of a study side by side."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tests.workflow.conftest import ROOT, Workflow
from wfdm.provenance.records import record_path

pytestmark = pytest.mark.slow

PEOPLE = 4
SNAPSHOT = ("scans.tsv", "people.tsv", "splits.tsv", "metadata_statistics.json", "manifest.tsv")


class Repository:
    """A study in a git repository of its own, with a DVC remote in a folder."""

    def __init__(self, workflow: Workflow, remote: Path) -> None:
        self.workflow, self.folder = workflow, workflow.folder
        for name in (".dvc", ".dvcignore", ".gitignore"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, self.folder / name)
        (self.folder / ".venv").symlink_to(sys.prefix)
        # What a user edits: the two lines that name the study.
        told = (ROOT / "dvc.yaml").read_text()
        told = told.replace("config/demo.yaml", "study.yaml")
        place = str(workflow.results.relative_to(self.folder))
        (self.folder / "dvc.yaml").write_text(told.replace("results/demo", place))
        self.git("init", "--quiet")
        self.dvc("remote", "add", "--default", "store", str(remote))
        self.commit("a study")

    def run(self, *command: str) -> str:
        who = {
            f"GIT_{role}_{key}": "test@example.org"
            for role in ("AUTHOR", "COMMITTER")
            for key in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.workflow.environment | who,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)


@pytest.fixture
def small(tmp_path) -> Repository:
    """A study of four people's scans of one contrast, a few voxels each."""
    folder = tmp_path / "study"
    folder.mkdir()
    for person in range(PEOPLE):
        path = folder / f"data/LAB/sub-{person}/anat/sub-{person}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(np.full((4, 5, 6), person, np.int16), np.eye(4)), path)
    (folder / "data/LAB/participants.tsv").write_text(
        "participant_id\tage\n" + "".join(f"sub-{n}\t{20 + n}\n" for n in range(PEOPLE))
    )
    (folder / "study.yaml").write_text(
        "study: tiny\nresults: results/tiny\nsources: [{kind: bids, path: data/LAB}]\n"
        "split: {train: 0.5, validation: 0.25}\n"
    )
    return Repository(Workflow.copied(folder, ["study.yaml"]), tmp_path / "remote")


def test_a_snapshot_goes_to_a_remote_and_comes_back(small, tmp_path):
    small.dvc("repro")
    data = small.folder / "results/tiny/data"
    taken = {name: (data / name).read_bytes() for name in SNAPSHOT}
    manifest = pd.read_csv(data / "manifest.tsv", sep="\t")
    assert len(manifest) == PEOPLE
    assert "results" not in small.git("status", "--short"), "git keeps no results"
    small.commit("snapshot")
    small.dvc("push")

    # Elsewhere: only what git holds, and the remote.
    elsewhere = tmp_path / "elsewhere"
    small.git("clone", "--quiet", ".", str(elsewhere))
    small.folder, data = elsewhere, elsewhere / "results/tiny/data"
    assert not data.exists()
    small.dvc("pull")
    assert {name: (data / name).read_bytes() for name in SNAPSHOT} == taken


def test_a_changed_raw_scan_changes_the_snapshot(small):
    small.dvc("repro")
    small.commit("snapshot")
    scan = "data/LAB/sub-1/anat/sub-1_T1w.nii.gz"
    nib.save(nib.Nifti1Image(np.full((4, 5, 6), 9, np.int16), np.eye(4)), small.folder / scan)
    code, told = small.workflow.wfdm("verify-manifest", "results/tiny/data/manifest.tsv")
    assert code == 1 and "1 of its raw scans" in told

    small.dvc("repro")
    changed = json.loads(small.dvc("diff", "--json"))["modified"]
    assert [Path(each["path"]).name for each in changed] == ["manifest.tsv"]
    code, _ = small.workflow.wfdm("verify-manifest", "results/tiny/data/manifest.tsv")
    assert code == 0


def test_two_revisions_of_a_study_are_compared(finished, tmp_path):
    """The numbers of table 4, and the curve of a training."""
    workflow = finished.twin(tmp_path / "study")
    repository = Repository(workflow, tmp_path / "remote")
    tables = str((workflow.results / "tables").relative_to(workflow.folder))
    repository.dvc("add", tables)
    repository.commit("first")
    first = json.loads((workflow.folder / tables / "metrics.json").read_text())["table4"]["WFDM"]

    # As another training would: other scores, and another history.
    history = workflow.results / "denoisers/wfdm/history.csv"
    curve = pd.read_csv(history)
    curve.assign(val_loss=curve["val_loss"] / 2).to_csv(history, index=False)
    scores = workflow.results / "evaluation/synthesis/wfdm.csv"
    table = pd.read_csv(scores)
    table.assign(FID=table["FID"] / 2).to_csv(scores, index=False)
    for made in (history.with_name("model.safetensors"), scores):
        record_path(made).unlink()  # what it says is no longer true
    workflow.run(f"{tables}/metrics.json")
    repository.dvc("add", tables)
    repository.commit("second")
    shutil.rmtree(workflow.folder / tables)
    repository.dvc("checkout", f"{tables}.dvc")

    found = json.loads(repository.dvc("metrics", "diff", "HEAD~1", "--json"))
    (change,) = found[f"{tables}/metrics.json"].items()
    assert change[0] == "table4.WFDM.FID"
    assert change[1]["old"] == first["FID"]
    assert change[1]["new"] == pytest.approx(first["FID"] / 2, rel=1e-5)

    plots = json.loads(repository.dvc("plots", "diff", "HEAD~1", "HEAD", "--json"))["data"]
    (plot,) = plots[f"{tables}/curves/denoisers/wfdm.csv"]
    points = pd.DataFrame(plot["content"]["data"]["values"])
    then, now = (
        points.loc[points["rev"] == revision, "val_loss"].astype(float).to_list()
        for revision in ("HEAD~1", "HEAD")
    )
    assert then == pytest.approx(curve["val_loss"].to_list())
    assert now == pytest.approx([loss / 2 for loss in then], rel=1e-5)
