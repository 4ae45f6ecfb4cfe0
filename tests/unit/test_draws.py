"""Several draws of samples of a model: which generators they are, and what their scores tell."""

import math

import pandas as pd
import pytest
from pydantic import ValidationError

from wfdm.config.study import Study, merged
from wfdm.errors import UserError
from wfdm.stages import draws as stage
from wfdm.stages import rows
from wfdm.tables.draws import draws

METRICS = ("FID", "MMD", "MS-SSIM")


def scored(folder, name, value):
    """Metrics of a draw: FID is the value, MMD twice, MS-SSIM half of it."""
    path = folder / f"{name}.csv"
    numbers = dict(zip(METRICS, (value, 2 * value, value / 2), strict=True))
    pd.DataFrame([{"modality": "T1w", **numbers}, {"modality": "Overall", **numbers}]).to_csv(path)
    return path


@pytest.fixture
def families(tmp_path):
    ours = [scored(tmp_path, f"ours-{n}", value) for n, value in enumerate((1.0, 2.0, 3.0))]
    theirs = [scored(tmp_path, f"theirs-{n}", value) for n, value in enumerate((4.0, 6.0))]
    return {"ours": ours, "theirs": theirs}


def test_draws_give_students_and_welchs_intervals(families):
    table = draws(families, {"ours": "WFDM"}).set_index(["Metric", "Model", "Against"])
    fid = table.loc["FID"]
    # By hand: mean 2, deviation 1, t(0.975, 2) = 4.302653.
    alone = fid.loc[("WFDM", "")]
    reach = 4.302653 / math.sqrt(3)
    assert (alone["draws"], alone["mean"], alone["deviation"]) == ("3", "2", "1")
    assert float(alone["low"]) == pytest.approx(2 - reach, abs=1e-5)
    assert float(alone["high"]) == pytest.approx(2 + reach, abs=1e-5)
    # Welch: the means' variances are 1/3 and 1, the freedom (4/3)^2 / ((1/3)^2 / 2 + 1^2 / 1).
    between = fid.loc[("WFDM", "theirs")]
    assert (between["draws"], between["mean"], between["deviation"]) == ("3, 2", "-3", "")
    low, high = float(between["low"]), float(between["high"])
    assert (low + high) / 2 == pytest.approx(-3, abs=1e-4)
    assert coverage((high - low) / 2 / math.sqrt(4 / 3), 16 / 9 / (1 / 18 + 1)) == pytest.approx(
        0.95, abs=1e-4
    )
    assert float(table.loc[("MMD", "theirs", ""), "mean"]) == 10
    assert list(dict.fromkeys(table.index.get_level_values("Metric"))) == list(METRICS)


def coverage(t, freedom, steps=200_000):
    """The share of Student's t within -t and t: Simpson's rule over its density."""
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)
    width = 2 * t / steps
    total = sum(
        (1 if n in (0, steps) else 4 if n % 2 else 2)
        * (1 + (n * width - t) ** 2 / freedom) ** (-(freedom + 1) / 2)
        for n in range(steps + 1)
    )
    return scale * total * width / 3


def test_generators_that_differ_only_in_name_are_draws_of_one():
    again = {"denoiser": "wfdm", "kind": "diffusion"}
    study = Study.model_validate(
        merged(
            Study().model_dump(),
            {
                "generators": {
                    "wfdm-2": {**again, "label": "2", "draw": 2},
                    "fast": {**again, "steps": 10},
                }
            },
        )
    )
    assert rows.draws(Study()) == {}
    assert rows.draws(study) == {"wfdm": ["wfdm", "wfdm-2"]}


def test_a_row_that_would_make_the_same_samples_is_refused():
    again = {"kind": "diffusion", "label": "X", "denoiser": "wfdm"}
    with pytest.raises(ValidationError, match=r"generators.x: makes the very samples of wfdm"):
        Study.model_validate(merged(Study().model_dump(), {"generators": {"x": again}}))


def test_a_folder_is_no_draw_of_itself():
    row = {"kind": "folder", "label": "X", "table": "finished.tsv"}
    with pytest.raises(ValidationError, match=r"generators.y: makes the very samples of x; rem"):
        Study.model_validate(
            merged(Study().model_dump(), {"generators": {"x": row, "y": row | {"label": "Y"}}})
        )


def test_the_stage_puts_each_draw_to_its_model(families, tmp_path):
    files = {path.stem: path for found in families.values() for path in found}
    of = [f"{name}={name[:-1]}0" for name in files]
    out = tmp_path / "draws.csv"
    stage.run([f"{name}={path}" for name, path in files.items()], of, out, ["ours-0=WFDM"])
    table = pd.read_csv(out, keep_default_na=False)
    assert list(table["draws"][:3]) == ["3", "2", "3, 2"]
    assert list(table["Model"][:2]) == ["WFDM", "theirs-0"]
    assert out.with_suffix(".md").exists() and out.with_suffix(".tex").exists()


def test_metrics_without_a_pooled_row_are_told(families):
    families["ours"][0].write_text("modality,FID,MMD,MS-SSIM\nT1w,1,1,1\n")
    with pytest.raises(UserError, match="needs one row 'Overall'"):
        draws(families)
