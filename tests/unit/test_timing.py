"""Times: the protocol against a clock that is known, the stage, and tables 6 and 7."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.unit.stage_b import cohort, encode_all, train
from wfdm.config.study import Study, merged
from wfdm.errors import UserError
from wfdm.evaluation import timing
from wfdm.evaluation.hardware import hardware
from wfdm.stages import benchmark, plan, rows, table6, table7
from wfdm.tables.systems import scheduler

PUBLISHED = Path(__file__).parents[2] / "config" / "published"
SMALL = {"channels": [8, 8], "wavelet_channels": 8, "norm_groups": 8}
NETWORK = {"channels": [8, 8], "attention": [False, True], "head_channels": 8, "res_blocks": 1}
STUDY = Study.model_validate(
    merged(
        Study().model_dump(mode="json"),
        {
            "volume": {"shape": [48, 48, 48]},
            "timing": {"warm_ups": 1, "repeats": 2, "batches": [2]},
            "compressors": {
                name: {"architecture": SMALL, "training": {"crop": [16, 16, 16]}}
                if name == "wf-sa-vae"
                else None
                for name in Study().compressors
            },
            "denoisers": {
                "wfdm": {"network": {**NETWORK, "norm_groups": 8, "metadata_width": 8}},
                **dict.fromkeys(Study().denoisers.keys() - {"wfdm"}),
            },
            "generators": {
                **dict.fromkeys(Study().generators.keys() - {"wfdm", "noise"}),
                "wfdm": {"steps": 2},
                "two": {"kind": "folder", "table": "x.tsv"},
            },
            "schedulers": dict.fromkeys(Study().schedulers.keys() - {"rflow-l2"}),
        },
    )
)


def settings(**names: str):
    return benchmark.Settings.parse(plan.settings_of(STUDY, "benchmark", **names))


# --- the protocol ---------------------------------------------------------------------------


def test_warm_ups_are_made_and_not_counted(monkeypatch):
    """The clock is read twice around each call; NumPy's statistics are the oracle."""
    took = [9.0, 8.0, 0.5, 0.25, 0.75, 4.0]
    clock = iter(np.cumsum([time for each in took for time in (100.0, each)]))
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    calls = []

    def make(batch, number):
        calls.append((batch, number))
        return [np.zeros((4, 5, 6))] * batch

    told = timing.timed(make, warm_ups=2, repeats=4).as_dict()
    assert calls == [(1, number) for number in range(6)]
    assert told["output_size"] == [4, 5, 6]
    seconds = told["seconds"]
    assert seconds["each"] == took[2:] and seconds["warm_ups"] == took[:2]
    assert seconds["mean"] == np.mean(took[2:]) and seconds["median"] == np.median(took[2:])
    assert seconds["sd"] == pytest.approx(np.std(took[2:], ddof=1))


def test_one_call_has_no_deviation():
    told = timing.timed(lambda batch, _: [np.zeros(1)], 1, 1).as_dict()
    assert told["seconds"]["sd"] is None and told["peak_memory_gb"] > 0


def test_a_batch_that_does_not_fit_is_told_and_the_others_are_measured():
    def make(batch, number):
        if batch == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [np.zeros((1, 1, 1))] * batch

    two, four, one = timing.throughput(make, [2, 4, 1])
    assert two["volumes_per_second"] == pytest.approx(2 / two["seconds"])
    assert four == {"batch": 4, "failed": "out of memory"} and one["batch"] == 1


def test_the_hardware_is_named():
    told = hardware()
    assert told["kind"] == ("GPU" if torch.cuda.is_available() else "CPU")
    assert told["name"] and told["torch"] == torch.__version__
    assert told["threads"] == torch.get_num_threads()


# --- the stage ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def timed(tmp_path_factory) -> Path:
    """Times of a small latent diffusion with random weights."""
    out = tmp_path_factory.mktemp("timed") / "wfdm.json"
    names = {"generator": "wfdm", "denoiser": "wfdm", "compressor": "wf-sa-vae"}
    benchmark.run(settings(**names), out)
    return out


def test_random_weights_are_timed_before_anything_is_trained(timed):
    told = json.loads(timed.read_text())
    assert told["weights"] == "random" and told["steps"] == 2
    assert told["output_size"] == [48, 48, 48]
    assert len(told["seconds"]["each"]) == 2 and min(told["seconds"]["each"]) > 0
    assert told["protocol"] == {"warm_ups": 1, "repeats": 2, "batches": [2], "batch": 1}
    assert [each["batch"] for each in told["throughput"]] == [2]
    record = json.loads(timed.with_name("wfdm.json.prov.json").read_text())
    assert record["inputs"] == {} and record["code"]


def test_trained_weights_are_named_and_no_inputs(tmp_path):
    model = train(encode_all(tmp_path, cohort()), tmp_path / "denoisers" / "tiny")
    names = {"generator": "wfdm", "denoiser": "wfdm", "compressor": "wf-sa-vae"}
    benchmark.run(settings(**names), tmp_path / "t.json", model / "model.safetensors")
    told = json.loads((tmp_path / "t.json").read_text())
    assert told["weights"] == "trained" and set(told["made_by"]["ModelSHA256"]) >= {"denoiser"}
    assert told["output_size"] == [16, 16, 16]
    assert json.loads((tmp_path / "t.json.prov.json").read_text())["inputs"] == {}


@pytest.mark.parametrize(
    ("name", "told"),
    [("two", "kind folder are not generated"), ("noise", "give what it is made of as --source")],
)
def test_what_cannot_be_timed_is_told(tmp_path, name, told):
    with pytest.raises(UserError, match=told):
        benchmark.run(settings(generator=name), tmp_path / "t.json")
    assert not list(tmp_path.glob("*.json"))


def test_sides_that_do_not_divide_are_told(tmp_path):
    names = {"generator": "wfdm", "denoiser": "wfdm", "compressor": "wf-sa-vae"}
    told = settings(**names)
    volume = told.volume.model_copy(update={"shape": (44, 48, 48)})
    odd = told.model_copy(update={"volume": volume})
    with pytest.raises(UserError, match="multiples of 8"):
        benchmark.run(odd, tmp_path / "t.json")


def test_parts_that_a_row_lacks_are_null():
    assert settings(generator="noise").network is None
    whole = settings(generator="wfdm", denoiser="wfdm", compressor="wf-sa-vae")
    assert whole.network == STUDY.denoisers["wfdm"].network
    assert whole.architecture == STUDY.compressors["wf-sa-vae"].architecture


def test_training_is_no_setting_of_a_time():
    names = {"generator": "wfdm", "denoiser": "wfdm", "compressor": "wf-sa-vae"}
    longer = merged(
        STUDY.model_dump(mode="json"), {"denoisers": {"wfdm": {"training": {"steps": 9}}}}
    )
    other = plan.settings_of(Study.model_validate(longer), "benchmark", **names)
    assert other == plan.settings_of(STUDY, "benchmark", **names)


# --- the tables -----------------------------------------------------------------------------


def as_if_on(path: Path, kind: str, out: Path) -> Path:
    """The same times, as if another kind of hardware had measured them."""
    told = json.loads(path.read_text())
    told["hardware"] |= {"kind": kind, "name": "One card", "driver": "1.2"}
    out.write_text(json.dumps(told))
    return out


@pytest.mark.parametrize(("kind", "own", "beside"), [("CPU", True, False), ("GPU", False, True)])
def test_a_time_of_a_cpu_never_stands_as_a_gpus(timed, tmp_path, kind, own, beside):
    given = as_if_on(timed, kind, tmp_path / "wfdm.json")
    table6.run(PUBLISHED / "table6.csv", tmp_path / "6.csv", [f"wfdm={given}"], note="demo")
    table = pd.read_csv(tmp_path / "6.csv", dtype=str, keep_default_na=False).set_index("Model")
    row = table.loc["WFDM"]
    for name in ("Mean s/vol", "Median s/vol", "Std s/vol", "Peak mem. GB"):
        assert bool(row[name]) == beside and bool(row[f"{name}, CPU"]) == own
    mean = json.loads(timed.read_text())["seconds"]["mean"]
    assert row["Mean s/vol, CPU" if own else "Mean s/vol"] == f"{mean:.3f}"
    assert row[["Mean s/vol published", "Steps", "Output size"]].tolist() == [
        *("2.161", "2", "(48, 48, 48)"),
    ]
    assert row["Hardware"].startswith("One card") and row["timed"] == "2 after 1"
    assert row["note"] == ("timed on a CPU: no time of a GPU; demo" if own else "demo")
    assert table.loc["HA-GAN", "Steps published"] == "N/A"
    assert set(table["note"].drop("WFDM")) == {"not in this study"}


def test_table_7_has_the_rows_of_table_5(timed, tmp_path):
    assert rows.table7(STUDY) == {"rflow-l2": "wfdm"}
    given = table7.Settings.of(STUDY)
    table7.run(given, PUBLISHED / "table7.csv", tmp_path / "7.csv", [f"rflow-l2={timed}"])
    table = pd.read_csv(tmp_path / "7.csv", dtype=str, keep_default_na=False)
    assert len(table) == 4
    row = table.set_index("Sampler").loc["RFlow"]
    assert row[["Pred. type", "Loss", "Steps", "Steps published"]].tolist() == [
        *"v l2 2 50".split()
    ]
    assert {path.suffix for path in tmp_path.iterdir()} >= {".csv", ".md", ".tex"}


def test_a_row_of_our_own_is_named_as_the_papers_are():
    study = Study()
    made = study.generators["ddpm-cosine-l1"]
    assert scheduler(study.denoisers[made.denoiser], made).name == "DDPM (cosine β schedule)"


@pytest.mark.parametrize("text", ["", "{}", '{"seconds": 3}', "[1]"])
def test_what_is_no_timing_is_told(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match="is no timing"):
        table6.run(PUBLISHED / "table6.csv", tmp_path / "6.csv", [f"wfdm={tmp_path / 'x.json'}"])


def test_generators_of_table_6_make_volumes_when_asked():
    assert rows.table6(STUDY) == ["wfdm"]
    published = {"ldm", "maisi-mr-brain", "med-ddpm", "wdm", "ha-gan"}
    assert set(rows.table6(Study())) == {"wfdm", "maisi", *published}
