"""A session that cannot be used: the others go on, it is listed, and a person decides."""

import shutil

import pandas as pd
import pytest

from tests.workflow.conftest import LAB, Workflow, planned

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(tiny, tmp_path):
    """A BIDS folder of two people, one with a scan that is cut short; and the study of it."""
    for subject, person in zip(("good", "cut"), LAB, strict=True):
        folder = tmp_path / "LAB" / f"sub-{subject}" / "anat"
        folder.mkdir(parents=True)
        scan = tiny.folder / f"data/LAB/sub-{person}/anat/sub-{person}_T1w.nii.gz"
        shutil.copy(scan, folder / f"sub-{subject}_T1w.nii.gz")
    cut = tmp_path / "LAB" / "sub-cut" / "anat" / "sub-cut_T1w.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-5000])

    def study(**quality) -> Workflow:
        quality = {"exclusions": str(tmp_path / "exclusions.tsv"), **quality}
        source = {"kind": "bids", "path": str(tmp_path / "LAB")}
        return tiny.over(results=str(tmp_path / "results"), sources=[source], quality=quality)

    return study


def test_a_failed_session_is_listed_and_the_policy_decides(lab, tmp_path):
    workflow = lab()
    target = str(workflow.results / "preprocessed/volumes.tsv")
    printed = workflow.run(target, code=1)
    assert "1 of 2 sessions failed: LAB/sub-cut" in printed
    asked = workflow.results / "preprocessed/quality.html"
    assert f"see {asked} (ask Snakemake for it)" in printed
    assert planned(workflow.run(str(asked))) == {"quality": 1}
    page = asked.read_text()
    assert page.index("LAB/sub-cut: failed") < page.index("LAB/sub-good")
    assert "cut short" in page
    log = workflow.results / "logs/preprocess/LAB/sub-cut/anat/sub-cut.log"
    assert "cut short" in log.read_text()

    (good,) = workflow.results.glob("preprocessed/LAB/sub-good/**/*.prov.json")
    made = good.stat().st_mtime_ns
    printed = lab(policy="skip", ceiling=0.5).run(target)
    assert planned(printed) == {"volumes": 1}, "what was done is not done again"
    assert list(pd.read_csv(target, sep="\t")["scan_id"]) == ["LAB/sub-good_T1w"]

    (tmp_path / "exclusions.tsv").write_text("key\treason\nLAB/sub-cut\tcut short\n")
    lab().run(target)
    assert good.stat().st_mtime_ns == made, "its shard's job found it as it was"
    assert list(pd.read_csv(target, sep="\t")["scan_id"]) == ["LAB/sub-good_T1w"]
