"""The plain U-Net beside a completion: the same draws, and that it learns from them alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.unit.completion_study import cohort, complete, completion_task, make, regress
from wfdm.config.completions import PlainUNetSettings
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.models.denoisers.sources import Sources
from wfdm.models.plain_unet import PlainUNet, load
from wfdm.training.batches import batches
from wfdm.training.completion import StageC
from wfdm.training.plain_unet import Regression, UNetTask

SMALL = PlainUNetSettings(channels=8, down=(1, 1), up=(1,))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("study"))


def test_it_is_given_what_the_branch_is(study: Path) -> None:
    task, denoiser, cache = completion_task(), study / "denoisers/tiny", Latents(study / "latents")
    plain = Regression(
        UNetTask(task.name, task.seed, SMALL, task.training), denoiser, cache, cohort()
    )
    branch = StageC(task, denoiser, cache, cohort())
    drawn = [
        batches(each.data, task.seed, task.name, range(2), range(3), 0) for each in (plain, branch)
    ]
    for one, other in zip(*drawn, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    for index in range(len(plain.cases)):
        one, other = plain.cases.told(index), branch.cases.told(index)
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_any_subset_and_modality_is_told_apart() -> None:
    torch.manual_seed(0)
    model = PlainUNet(SMALL, 4).eval()
    latents = {name: torch.randn(4, 8, 8, 8) for name in ("T1w", "FLAIR")}
    with torch.no_grad():
        made = [
            model(Sources.of({name: latents[name] for name in names}), torch.tensor([wanted]))
            for names in (("T1w",), ("FLAIR",), ("T1w", "FLAIR"))
            for wanted in (1, 2)
        ]
    assert all(each.shape == (1, 4, 8, 8, 8) for each in made)
    assert len({float(each.sum()) for each in made}) == len(made)


def test_it_learns_and_can_be_loaded(study: Path, tmp_path: Path) -> None:
    """Judged by the rows of its history, whose floor is counted from the latents by hand."""
    made = regress(study, tmp_path, steps=60, validate_every=30, learning_rate=3e-3)
    history = pd.read_csv(made / "history.csv")
    assert history["loss"].iloc[-1] < 0.9 * history["loss"].iloc[0]
    cache, scans = Latents(study / "latents"), cohort()
    latents = {row.scan_id: cache.scaled_mean(row.scan_id) for row in scans.itertuples()}
    floors = []
    for row in scans[scans["split"] == "validation"].itertuples():
        same = scans[(scans["split"] == "train") & (scans["modality"] == row.modality)]
        mean = np.mean([latents[name] for name in same["scan_id"]], axis=0)
        floors.append(np.square(mean - latents[row.scan_id]).mean())
    assert history["x0_modality_mean"].iloc[0] == pytest.approx(np.mean(floors), rel=1e-3)
    assert not any(weight.requires_grad for weight in load(made).parameters())
    with pytest.raises(UserError, match=r"config\.json is missing"):
        load(tmp_path / "nothing")
    with pytest.raises(UserError, match="does not describe a completion's U-Net"):
        load(complete(study, tmp_path / "branch", steps=1))


def test_levels_that_do_not_divide_are_told(study: Path) -> None:
    task = completion_task()
    deep = PlainUNetSettings(channels=8, down=(1,) * 5, up=(1,) * 4)
    with pytest.raises(UserError, match=r"unet\.down: of 5 levels the sides"):
        Regression(
            UNetTask(task.name, task.seed, deep, task.training),
            study / "denoisers/tiny",
            Latents(study / "latents"),
            cohort(),
        )
