"""Flags, page, exclusions and policy, on records as `wfdm preprocess` writes them."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from wfdm.config.preprocess import QualitySettings
from wfdm.data.exclusions import kept, read_exclusions
from wfdm.data.sessions import sessions_of
from wfdm.errors import UserError
from wfdm.preprocess.quality.numbers import collect, flag, robust_z
from wfdm.preprocess.quality.page import page
from wfdm.preprocess.quality.volumes_table import contents_of, enforce, gather


def row(subject: str, dataset: str = "A") -> dict[str, str]:
    return {
        "scan_id": f"{dataset}/sub-{subject}_T1w",
        **{"dataset": dataset, "subject": subject, "session": "", "group": "0"},
        **{"modality": "T1w", "path": f"{subject}.nii.gz", "state": "raw"},
    }


def numbers(**changes) -> dict:
    return {
        "volumes": {"T1w": "v.nii.gz"},
        **{"mask": "m.nii.gz", "picture": "p.png", "reference": "T1w", "state": "raw"},
        **{"mask_ml": 1400.0, "atlas_dice": 0.95},
        **{"similarity": {"T1w": 1.05}, "coverage": {"T1w": 1.0}, "start": {"T1w": "header"}},
        **{"voxel_mm": {"T1w": [1.0, 1.0, 1.0]}, "foreground": {"T1w": [0.1, 0.5, 0.9]}},
        **changes,
    }


@pytest.fixture
def study(tmp_path):
    """Twelve sessions: 3 has a dark brain, 5 a high Dice, 7 failed, 9 a poor registration."""
    rng = np.random.default_rng(0)
    rows = [row(str(number)) for number in range(12)]
    odd = {
        3: {"foreground": {"T1w": [0.1, 0.2, 0.9]}},
        5: {"atlas_dice": 0.999},
        7: {"failed": "sub-7: T1w: cut <short>"},
        9: {"similarity": {"T1w": 1.01}},
    }
    for number, scan in enumerate(rows):
        usual = {
            "mask_ml": 1400 + rng.normal(0, 50),
            "atlas_dice": 0.95 + rng.normal(0, 0.005),
            "similarity": {"T1w": 1.05 + rng.normal(0, 0.002)},
            "foreground": {"T1w": [0.1, 0.5 + rng.normal(0, 0.01), 0.9]},
        }
        results = numbers(**(usual | odd.get(number, {})))
        folder = tmp_path / "A" / f"sub-{scan['subject']}" / "anat"
        folder.mkdir(parents=True)
        content = {
            "results": results if "failed" not in results else {"failed": results["failed"]},
            "outputs": {"v.nii.gz": "0" * 64},
        }
        (folder / f"sub-{scan['subject']}_desc-preproc.prov.json").write_text(json.dumps(content))
    return rows, tmp_path


def records(rows, root) -> dict[str, Path]:
    """The record of each session, by key, as the tables of the shards list them."""
    return {key: each.record(root, "preproc") for key, each in sessions_of(rows).items()}


def test_robust_z_is_iglewicz_and_hoaglin():
    values = np.random.default_rng(1).normal(5, 2, 50)
    expected = (values - np.median(values)) / median_abs_deviation(values, scale="normal")
    np.testing.assert_allclose(robust_z(values), expected, rtol=1e-4)
    some = np.where(np.arange(50) % 5, values, np.nan)
    np.testing.assert_allclose(
        robust_z(some)[1:5], robust_z(some[np.isfinite(some)])[:4], rtol=1e-12
    )
    assert (robust_z(values[:7]) == 0).all(), "seven values say nothing about what is usual"
    assert (robust_z(np.ones(20)) == 0).all()
    mostly_equal = np.r_[np.ones(19), 3.0]
    assert robust_z(mostly_equal)[-1] > 3.5


def test_the_worst_come_first_and_only_the_odd_are_flagged(study):
    rows, root = study
    table = flag(collect(rows, records(rows, root), root / "logs"), QualitySettings().z)
    assert table["session"][0] == "A/sub-7" and table["status"][0] == "failed"
    assert set(table["session"][1:3]) == {"A/sub-3", "A/sub-9"}
    flags = table.set_index("session")["flags"]
    assert "p50 T1w" in flags["A/sub-3"] and "similarity T1w" in flags["A/sub-9"]
    assert "dice" not in flags["A/sub-5"], "a high Dice is no fault"
    others = flags.drop(["A/sub-3", "A/sub-9", "A/sub-7"])
    assert (others == "").sum() >= 7


def test_the_page_links_pictures_and_logs_and_escapes_text(study):
    rows, root = study
    settings = QualitySettings(exclusions="my exclusions.tsv")
    table = flag(collect(rows, records(rows, root), root / "logs"), settings.z)
    html = page(table, root / "quality.html", "my <study>", settings.z, settings.exclusions)
    assert "my &lt;study&gt;" in html and "cut &lt;short&gt;" in html
    assert 'href="logs/A/sub-7/anat/sub-7.log"' in html and html.count("<img ") == 11
    assert "12 sessions, 1 failed" in html and "my exclusions.tsv" in html


def test_gather_leaves_failed_sessions_out(study):
    rows, root = study
    contents = contents_of(rows, records(rows, root))
    assert list(gather(rows, contents)["scan_id"]) == sorted(
        scan["scan_id"] for scan in rows if scan["subject"] != "7"
    )
    with pytest.raises(UserError, match="A/sub-99: not preprocessed"):
        contents_of([*rows, row("99")], records(rows, root))


CONTENTS = {f"A/sub-{n}": {"results": {} if n else {"failed": "cut short"}} for n in range(20)}


def test_policy_fail_stops_and_says_what_to_do():
    with pytest.raises(
        UserError, match=r"1 of 20 sessions failed: A/sub-0; see q\.html \(ask"
    ) as error:
        enforce(CONTENTS, QualitySettings(policy="fail"), "q.html")
    assert "\n" not in str(error.value)


def test_policy_skip_goes_on_up_to_its_ceiling():
    told = enforce(CONTENTS, QualitySettings(policy="skip", ceiling=0.05), "q.html")
    assert "A/sub-0" in told and "goes on" in told
    with pytest.raises(UserError, match=r"5\.0%, more than quality\.ceiling \(4\.0%\)"):
        enforce(CONTENTS, QualitySettings(policy="skip", ceiling=0.04), "q.html")
    assert enforce({"A/sub-1": CONTENTS["A/sub-1"]}, QualitySettings(), "q.html") == ""


def test_exclusions_name_scans_or_sessions(tmp_path):
    path = tmp_path / "exclusions.tsv"
    path.write_text("key\treason\nA/sub-1\tmoved\nA/sub-2_T1w\twrong contrast\n")
    rows = [row("1"), row("2"), row("2") | {"scan_id": "A/sub-2_T2w"}, row("3")]
    left = kept(rows, read_exclusions(path), path)
    assert [scan["scan_id"] for scan in left] == ["A/sub-2_T2w", "A/sub-3_T1w"]
    assert read_exclusions(tmp_path / "none.tsv") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scan\treason\n", "must be 'key' and 'reason'"),
        ("key\treason\nA/sub-1\t \n", "A/sub-1: no reason given"),
        ("key\treason\nA/sub-1\ta\nA/sub-1\tb\n", "A/sub-1 is listed twice"),
        ("key\treason\nA/sub-8\tmoved\n", "'A/sub-8' is no scan or session"),
    ],
)
def test_a_wrong_exclusion_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "exclusions.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        kept([row("1")], read_exclusions(path), path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_scan_that_failed_alone_is_told_and_left_out(study):
    rows, root = study
    path = records(rows, root)["A/sub-2"]
    content = json.loads(path.read_text())
    content["results"]["left_out"] = {"T2w": "sub-2, T2w: a slab"}
    path.write_text(json.dumps(content))
    second = row("2") | {"scan_id": "A/sub-2_T2w", "modality": "T2w"}
    found = records([*rows, second], root)
    table = flag(collect([*rows, second], found, root / "logs"), QualitySettings().z)
    assert set(table["session"][:2]) == {"A/sub-2", "A/sub-7"}
    html = page(table, root / "quality.html", "study", 3.5, "x.tsv")
    assert "Left out: sub-2, T2w: a slab" in html
    contents = contents_of([*rows, second], found)
    kept = list(gather([*rows, second], contents)["scan_id"])
    assert "A/sub-2_T1w" in kept and "A/sub-2_T2w" not in kept
    with pytest.raises(
        UserError, match="1 of 12 sessions failed: A/sub-7; 1 scans failed alone: A"
    ):
        enforce(contents, QualitySettings(policy="fail"), "q.html")
    assert "A/sub-2_T2w" in enforce(contents, QualitySettings(policy="skip", ceiling=0.5), "q.html")
