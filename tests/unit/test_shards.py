"""The pool of processes, and shards of sessions: what is kept, what is done again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tests.unit import shard_work
from wfdm.config.preprocess import PreprocessSettings
from wfdm.data import session_shards
from wfdm.data.pool import side_by_side
from wfdm.data.table import columns, write_table
from wfdm.data.volumes import read_image
from wfdm.errors import UserError
from wfdm.preprocess import shard as preprocessing
from wfdm.stages import preprocess as stage

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory):
    """Start the workers' server with what shards need: a process has one for all its pools."""
    folder = tmp_path_factory.mktemp("server")
    preload = ["wfdm.preprocess.imports"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", "8")  # what Snakemake gives a rule of 8 threads
        list(side_by_side(shard_work.refusing, {"a": 1}, 1, folder.joinpath, "begin", preload))
        assert os.environ["OPENBLAS_NUM_THREADS"] == "8", "the job's own is left alone"


# --- the pool -------------------------------------------------------------------------------


def run(work, items, processes, folder):
    return list(side_by_side(work, items, processes, lambda name: folder / name, "items"))


@pytest.mark.parametrize("processes", [1, 3])
def test_results_come_in_order_and_each_item_has_its_own_log(tmp_path, capfd, processes):
    items = {f"item-{number}": number for number in range(5)}
    found = run(shard_work.talkative, items, processes, tmp_path)
    assert found == [(name, number**2) for name, number in items.items()]
    for name, number in items.items():
        told = (tmp_path / name).read_text()
        for way in ("printed", "complained", "from a library", "logged"):
            assert f"{number} {way}\n" in told
            assert told.count(f" {way}\n") == 1, "of this item alone"
        assert told.count("UserWarning: warned") == 1, "again for each item"
    out, err = capfd.readouterr()
    assert out == "" and "logged" not in err and "library" not in err


def test_a_worker_is_one_core_s_work(tmp_path):
    ((_, found),) = run(shard_work.threads, {"a": 1}, 4, tmp_path)
    assert set(found.values()) == {"1"}


def test_what_an_item_raises_ends_the_job_and_stands_in_its_log(tmp_path):
    with pytest.raises(UserError, match="3 cannot be used"):
        run(shard_work.refusing, {"a": 1, "b": 3}, 2, tmp_path)
    assert (tmp_path / "b").read_text() == "wfdm: 3 cannot be used; leave it out\n"
    with pytest.raises(RuntimeError, match="a fault"):
        run(shard_work.refusing, {"a": 1, "b": 4}, 2, tmp_path)
    assert "Traceback" in (tmp_path / "b").read_text()


def test_a_killed_process_is_told_with_what_was_in_the_making(tmp_path):
    items = {name: str(tmp_path / name) for name in "abcdef"}
    finished = []
    pool = side_by_side(shard_work.dying, items, 2, lambda name: tmp_path / f"{name}.log", "items")
    with pytest.raises(UserError, match=r"killed, or crashed, while c, d were in the making") as e:
        finished.extend(pool)
    assert "\n" not in str(e.value)
    assert finished == [("a", 0), ("b", 0)]
    assert not (tmp_path / "e").exists(), "nothing else was begun"


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_job(tmp_path, end):
    code = (
        "import signal, sys; from pathlib import Path; "
        "from tests.unit.shard_work import endless_job; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's & ignores it
        "endless_job(Path(sys.argv[1]))"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    files = [tmp_path / "one", tmp_path / "two"]
    wait_until(lambda: all(path.is_file() and path.read_text() for path in files), 60)
    workers = [int(path.read_text()) for path in files]
    assert all(map(alive, workers))
    job.send_signal(end)
    code = job.wait(60)
    assert code == {signal.SIGTERM: 143}.get(end, -end) or (end == signal.SIGINT and code == 1)
    wait_until(lambda: not any(map(alive, workers)), 60)


# --- shards of sessions ---------------------------------------------------------------------


class Study:
    """Sessions that lie on the atlas already, so that each takes a second, and their stage."""

    def __init__(self, folder: Path, atlas: dict[str, Path]) -> None:
        self.folder, self.atlas, self.rows = folder, atlas, []
        self.settings = stage.Settings.model(
            seed=1, preprocess=PreprocessSettings(spacing=4.0, extractor="deepbet")
        )
        self.exclusions = folder / "exclusions.tsv"
        self.results = folder / "results"
        self.brain = np.asarray(read_image(atlas["sri24"]).dataobj)[::3, ::3, ::3]
        self.affine = read_image(atlas["sri24"]).affine @ np.diag([3.0, 3, 3, 1])

    def add(self, subject: str, modality: str = "T1w", level: float = 1.0, state="identity"):
        path = self.folder / "raw" / f"sub-{subject}_{modality}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image((self.brain * level).astype(np.int16), self.affine), path)
        row = dict.fromkeys(columns(), "") | {
            **{"scan_id": f"A/sub-{subject}_{modality}", "dataset": "A", "person": f"A/{subject}"},
            **{"subject": subject, "group": "0", "modality": modality},
            **{"path": str(path), "state": state},
        }
        self.rows.append(row)
        write_table(pd.DataFrame(self.rows), self.folder / "scans.tsv")
        return path

    def arguments(self, shard=0, shards=1, processes=1, results: Path | None = None) -> dict:
        root = results or self.results
        return {
            **{"scans": self.folder / "scans.tsv", "exclusions": self.exclusions},
            **{"atlas": self.atlas["sri24"], "atlas_head": self.atlas["sri24-head"]},
            **{"root": root, "logs": root / "logs", "out": root / f"{shard}-of-{shards}.tsv"},
            **{"shard": shard, "shards": shards, "processes": processes},
        }

    def run(self, **more) -> pd.DataFrame:
        arguments = self.arguments(**more)
        stage.run(self.settings, **arguments)
        return pd.read_csv(arguments["out"], sep="\t").set_index("session")

    def times(self) -> dict[str, int]:
        """When the record of each session was written."""
        found = self.results.glob("A/**/sub-*.prov.json")  # and no lock of a killed job
        return {path.name.split("_")[0]: path.stat().st_mtime_ns for path in found}


@pytest.fixture
def study(tmp_path, atlas) -> Study:
    """Three sessions; the second has two scans."""
    found = Study(tmp_path, atlas)
    for number, subject in enumerate(("one", "two", "three")):
        found.add(subject, level=1 + number / 10)
    found.add("two", "T2w", level=0.5)
    return found


def content(root: Path) -> dict[str, bytes | str]:
    """Return what is in the results but times, and what tells the machine."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.glob("A/**/*")):
        if path.name.endswith(".prov.json"):
            record = json.loads(path.read_text().replace(str(root), "ROOT"))
            found[path.name] = json.dumps(
                {name: record[name] for name in ("outputs", "inputs", "settings", "results")}
            )
        elif path.is_file():
            found[path.name] = path.read_bytes()
    return found


def test_no_result_depends_on_processes_or_shards(study, tmp_path):
    table = study.run()
    assert list(table.index) == ["A/sub-one", "A/sub-three", "A/sub-two"]
    assert set(table["status"]) == {"ok"}
    other = tmp_path / "other"
    parts = [study.run(shard=n, shards=2, processes=2, results=other) for n in range(2)]
    assert sorted(key for part in parts for key in part.index) == list(table.index)
    assert max(map(len, parts)) < 3, "the sessions are in several shards"
    first, second = content(study.results), content(other)
    assert len(first) == 3 * (3 + 2 + 1 + 1) + 3  # volume 3, mask 2, picture, record; one more scan
    assert first == second
    listed = session_shards.records([other / f"{n}-of-2.tsv" for n in range(2)])
    assert sorted(listed) == list(table.index)


def test_a_failed_session_is_recorded_while_the_others_go_on(study, caplog):
    cut = study.add("cut")
    cut.write_bytes(cut.read_bytes()[:-1000])
    study.add("both")
    study.add("both", "T2w", state="preprocessed")
    gone = study.add("gone")
    gone.unlink()
    caplog.set_level("INFO", logger="wfdm")
    table = study.run()
    expected = {"A/sub-both": "several states", "A/sub-cut": "cut short", "A/sub-gone": "no such"}
    assert sorted(table.index[table["status"] == "failed"]) == sorted(expected)
    assert (table["status"] == "ok").sum() == 3
    for key, reason in expected.items():
        record = json.loads(Path(table["record"][key]).read_text())
        assert reason in record["results"]["failed"]
        (note,) = map(Path, record["outputs"])
        assert reason in note.read_text()
        subject = key.removeprefix("A/")
        assert reason in (study.results / "logs" / key / "anat" / f"{subject}.log").read_text()
        (line,) = [m for m in caplog.messages if m.startswith(f"wfdm: {key} failed")]
        assert reason in line and "\n" not in line
    before = study.times()
    study.run()
    assert study.times() == before, "what failed will fail again"
    gone.write_bytes(Path(study.rows[0]["path"]).read_bytes())
    assert study.run()["status"]["A/sub-gone"] == "ok"
    assert not list(study.results.glob("**/sub-gone*failed*"))
    assert [name for name, time in study.times().items() if before[name] != time] == ["sub-gone"]


def test_nothing_is_done_again_that_is_true(study, monkeypatch):
    study.run()
    before = study.times()
    monkeypatch.setattr(session_shards, "side_by_side", lambda work, left, *_: list(left))
    study.run()
    study.run(shard=1, shards=2)
    os.utime(study.rows[0]["path"])
    study.run()
    assert study.times() == before


def changed(times: dict[str, int], before: dict[str, int]) -> set[str]:
    return {name.removeprefix("sub-") for name in before if times[name] != before[name]}


def test_a_changed_scan_redoes_its_session_alone(study):
    study.run()
    before = study.times()
    study.rows = study.rows[1:]
    study.add("one", level=3)
    study.run()
    assert changed(study.times(), before) == {"one"}


def test_an_excluded_scan_redoes_its_session_alone(study):
    study.run()
    before = study.times()
    study.exclusions.write_text("key\treason\nA/sub-two_T2w\tmoved\n")
    study.run()
    assert changed(study.times(), before) == {"two"}
    assert not list(study.results.glob("A/sub-two/**/*T2w*")), "what it no longer has is removed"
    study.exclusions.write_text("key\treason\nA/sub-two\tmoved\n")
    assert list(study.run().index) == ["A/sub-one", "A/sub-three"]


@pytest.mark.parametrize("how", ["missing", "another", "cut record"])
def test_a_damaged_result_redoes_its_session_alone(study, how):
    study.run()
    before, wanted = study.times(), content(study.results)
    (volume,) = study.results.glob("A/sub-one/**/*_T1w.nii.gz")
    if how == "missing":
        volume.unlink()
    elif how == "another":
        volume.write_bytes(bytes(len(volume.read_bytes())))  # of the same size
    else:
        (record,) = study.results.glob("A/sub-one/**/*.prov.json")
        record.write_text(record.read_text()[:100])
    study.run()
    assert changed(study.times(), before) == {"one"}
    assert content(study.results) == wanted


@pytest.mark.parametrize("what", ["settings", "seed", "code"])
def test_other_settings_or_code_redo_every_session(study, monkeypatch, what):
    study.run()
    before = study.times()
    if what == "code":
        monkeypatch.setattr(preprocessing, "fingerprint", lambda module: f"another {module}")
    else:
        other = PreprocessSettings(spacing=5.0, extractor="deepbet")
        change = {"seed": 2} if what == "seed" else {"preprocess": other}
        study.settings = study.settings.model_copy(update=change)
    study.run()
    assert changed(study.times(), before) == {"one", "two", "three"}


def test_one_session_by_hand(study):
    arguments = study.arguments()
    stage.run(study.settings, session=["A/sub-three"], **arguments)
    assert list(study.times()) == ["sub-three"]
    with pytest.raises(UserError, match="there is no 'A/sub-nine' in the scan table"):
        stage.run(study.settings, session=["A/sub-nine"], **arguments)


def test_a_job_that_was_killed_goes_on_where_it_stood(study, tmp_path):
    for number in range(4):
        study.add(f"more{number}", level=2 + number / 10)
    undisturbed = tmp_path / "undisturbed"
    study.run(results=undisturbed)

    code = (
        "import json, sys; from pathlib import Path; from wfdm.stages import preprocess\n"
        "given = json.loads(sys.argv[2])\n"
        "paths = {k: Path(v) if isinstance(v, str) else v for k, v in given.items()}\n"
        "preprocess.run(preprocess.Settings.parse(sys.argv[1]), **paths)"
    )
    arguments = json.dumps(study.arguments(), default=str)
    job = subprocess.Popen(
        [sys.executable, "-c", code, study.settings.model_dump_json(), arguments],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(study.times()) >= 2 or job.poll() is not None, 120)
    job.kill()
    job.wait()
    time.sleep(2)  # its worker ends by itself
    before = study.times()
    assert 2 <= len(before) < 7, "it was killed in the middle"
    assert not (study.results / "0-of-1.tsv").exists()
    study.run()
    after = study.times()
    assert len(after) == 7 and changed(after, before) == set()
    assert content(study.results) == content(undisturbed)
