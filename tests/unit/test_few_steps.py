"""Table A4 and figure A4: what stands in them, against numbers counted by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from tests.unit.judged import counted, synthesis_csv
from wfdm.config import files
from wfdm.config.study import Study
from wfdm.errors import UserError
from wfdm.figures.few_steps import figure_a4
from wfdm.stages import rows, table_a4
from wfdm.stages.notes import keys_of

ROOT = Path(__file__).parents[2]
SCANS = ("a", "b")
TIME = {
    "steps": 4,
    "output_size": [8, 8, 8],
    "weights": "random",
    "seconds": {"mean": 0.5, "median": 0.5, "sd": 0.0},
    "peak_memory_gb": None,
    "protocol": {"repeats": 3, "warm_ups": 1},
    "hardware": {"kind": "CPU", "name": "One", "load": 0.1, "torch": "2", "threads": 1},
    "throughput": [],
}


def study() -> Study:
    return files.read_study(ROOT / "config/config.yaml", ROOT / "config/few-steps.yaml")


def ends(path: Path, values: dict[str, list[float]]) -> Path:
    """Latents that are constant in each draw."""
    made = {name: torch.tensor(draws)[:, None] * torch.ones(1, 8) for name, draws in values.items()}
    save_file({name: each.reshape(-1, 1, 2, 2, 2) for name, each in made.items()}, path)
    return path


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Of two generators and a reference."""
    names = ("wfdm-heun-4", "wfdm-few-1", "real-train")
    metrics = {
        name: synthesis_csv(
            tmp_path / f"{name}.csv",
            Overall={"FID": fid, "FID low": fid / 2, "FID high": 2 * fid, **counted(3, 3, 3)},
            All_together={"FID": fid},
            T1w={"FID": fid, **counted(3, 3, 3)},
        )
        for name, fid in zip(names, (4.0, 5.0, 1.0), strict=True)
    }
    ends(tmp_path / "many", {"a": [1.0, 2.0], "b": [2.0, 4.0]})
    ends(tmp_path / "wfdm-heun-4", {"a": [1.5], "b": [2.0]})
    ends(tmp_path / "wfdm-few-1", {"a": [1.0], "b": [3.0]})
    (tmp_path / "time.json").write_text(json.dumps(TIME))
    out = tmp_path / "tableA4.csv"
    table_a4.run(
        table_a4.Settings.of(study()),
        [f"{name}={path}" for name, path in metrics.items()],
        [f"{name}={tmp_path / name}" for name in names[:2]],
        [f"{name}={tmp_path / 'time.json'}" for name in names[:2]],
        tmp_path / "many",
        out,
        ["real-train=Real"],
    )
    return pd.read_csv(out).set_index("Model")


def test_distances_passes_and_references_stand_in_the_table(table: pd.DataFrame) -> None:
    assert list(table.index) == ["wfdm-heun-4", "wfdm-few-1", "Real"]
    heun, few, real = (table.loc[name] for name in table.index)
    assert (heun["Network passes"], few["Network passes"]) == (8, 1)
    assert (heun["Denoiser"], few["Denoiser"]) == ("wfdm", "wfdm-few")
    assert heun["Latent distance"] == pytest.approx(np.mean([0.5, 0.0]))
    assert few["Latent distance"] == pytest.approx(np.mean([0.0, 0.5]))
    assert heun["Latent distance, another noise"] == 1.0 and heun["n latents"] == 2
    assert heun["Mean s/vol, CPU"] == 0.5
    assert (real["FID"], real["n_synthetic"]) == (1.0, 3)
    assert real[["Network passes", "Latent distance", "Denoiser"]].isna().all()
    assert "200 steps of heun" in heun["note"]


def test_the_figure_has_a_line_a_sampler_and_one_a_reference(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        "wfdm.figures.panels.save", lambda figure, stem, dpi: drawn.append(figure) or []
    )
    figure_a4(pd.read_csv(tmp_path / "tableA4.csv"), tmp_path / "x", 50)
    realism, nearness = drawn[0].axes
    names = [line.get_label() for line in realism.get_lines()]
    assert names == ["wfdm, heun", "wfdm-few, euler", "Real"]
    assert [float(line.get_ydata()[0]) for line in realism.get_lines()] == [4.0, 5.0, 1.0]
    assert [float(line.get_ydata()[0]) for line in nearness.get_lines()] == [0.25, 0.25, 1.0]


def test_endpoints_of_other_scans_are_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    ends(tmp_path / "wfdm-few-1", {"a": [1.0]})
    with pytest.raises(UserError, match="not of the same scans"):
        table_a4.run(
            table_a4.Settings.of(study()),
            [f"wfdm-few-1={tmp_path / 'wfdm-few-1.csv'}"],
            [f"wfdm-few-1={tmp_path / 'wfdm-few-1'}"],
            [f"wfdm-few-1={tmp_path / 'time.json'}"],
            tmp_path / "many",
            tmp_path / "again.csv",
        )


def test_the_overlay_has_every_sampler_and_the_students_rows() -> None:
    found = rows.few_steps(study())
    asked = {
        (row.denoiser, row.sampler, row.steps)
        for row in (study().generators[name] for name in found)
    }
    steps = (4, 8, 12, 16, 25, 50)
    samplers = ("euler", "heun", "dpm-solver++")
    assert asked == {("wfdm", sampler, each) for sampler in samplers for each in steps} | {
        ("wfdm-few", "euler", each) for each in (1, 2, 4, 8)
    }
    passes = {study().generators[name].passes for name in found if "heun" in name}
    assert passes == {2 * each for each in steps}


def test_a_note_tells_of_the_students_training_too() -> None:
    keys = keys_of("table4")
    assert "distilled.{distilled}.training" in keys and "distilled.{distilled}.pairs" in keys
