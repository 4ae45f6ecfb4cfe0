"""Training of a completion: which scans and subsets are drawn, what changes, and resuming."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.completion_study import cohort, complete, completion_task, make
from tests.unit.stage_b import STATISTICS
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.models.denoisers import branch_folder, folder
from wfdm.provenance.digests import sha256_of
from wfdm.seeds import generator_for
from wfdm.training.companions import Companions, SubsetDraws
from wfdm.training.completion import StageC


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("study"))


def history(trained: Path) -> list[dict[str, float]]:
    with open(trained / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


# --- what is drawn --------------------------------------------------------------------------


def companions(study: Path, split: str) -> Companions:
    scans = cohort()
    return Companions.of(
        Latents(study / "latents"), scans[scans["split"] == split], STATISTICS, split
    )


def test_every_scan_of_a_session_with_two_is_made_from_the_others(study: Path) -> None:
    found = companions(study, "train")
    assert len(found.others) == 4 + 4 + 2
    made = dict(zip(found.scans.scan_ids, found.others, strict=True))
    assert made["ALPHA/sub-02_FLAIR"] == {"T1w": "ALPHA/sub-02_T1w"}
    assert list(made["ALPHA/sub-00_T2w"]) == ["T1w", "T1Gd", "FLAIR"]
    test = companions(study, "test")
    assert "ALPHA/sub-07_T2w" not in test.scans.scan_ids  # alone in its session


def test_every_non_empty_subset_is_equally_likely(study: Path) -> None:
    found = companions(study, "train")
    index = found.scans.scan_ids.index("ALPHA/sub-00_T2w")
    rng = np.random.default_rng(0)
    counts = Counter(tuple(found.subset(index, rng)) for _ in range(7000))
    assert len(counts) == 7 and () not in counts
    assert all(abs(count - 1000) < 150 for count in counts.values())
    assert not any("T2w" in subset for subset in counts)


def test_an_item_holds_what_is_told_and_zero_elsewhere(study: Path) -> None:
    found = companions(study, "train")
    index = found.scans.scan_ids.index("ALPHA/sub-00_T2w")
    item = found.item(index, ["T1w", "FLAIR"])
    cache = Latents(study / "latents")
    assert item["there"].tolist() == [1, 0, 0, 1]
    for place, name in ((0, "T1w"), (3, "FLAIR")):
        np.testing.assert_array_equal(
            item["sources"][place], cache.scaled_mean(f"ALPHA/sub-00_{name}")
        )
    assert not item["sources"][1:3].any()
    np.testing.assert_array_equal(item["z"], cache.scaled_mean("ALPHA/sub-00_T2w"))


def test_a_draw_is_a_function_of_its_generator(study: Path) -> None:
    draws = SubsetDraws(companions(study, "train"), 0.7)
    for step in range(5):
        one, other = (draws.draw(generator_for(7, "train", step)) for _ in range(2))
        assert all(torch.equal(one[key], other[key]) for key in one)
        assert not one["there"][one["modality"]]


# --- training -------------------------------------------------------------------------------


def test_a_fresh_branch_costs_what_the_denoiser_alone_does(study: Path, tmp_path: Path) -> None:
    (row,) = history(complete(study, tmp_path, steps=1, learning_rate=1e-12))
    assert row["val_loss"] == pytest.approx(row["val_alone"], rel=1e-6)
    assert row["val_other_sources"] == pytest.approx(row["val_alone"], rel=1e-6)


def test_the_denoiser_is_left_as_it_is(study: Path, tmp_path: Path) -> None:
    """So the generator's own samples are the same bits: its files and its code are untouched."""
    files = sorted((study / "denoisers" / "tiny").rglob("*.*"))
    before = [sha256_of(file) for file in files]
    made = complete(study, tmp_path)
    assert [sha256_of(file) for file in files] == before
    branch = branch_folder.read(made)
    assert branch.denoiser_sha256 == sha256_of(study / "denoisers/tiny/model.safetensors")
    assert branch.denoiser.resolve() == (study / "denoisers/tiny").resolve()
    objective = StageC(
        completion_task(), study / "denoisers/tiny", Latents(study / "latents"), cohort()
    )
    assert not any(weight.requires_grad for weight in objective.denoiser.parameters())
    assert set(objective.modules) == {"model", "ema"}


def test_only_the_branch_is_kept_and_can_be_loaded(study: Path, tmp_path: Path) -> None:
    made = complete(study, tmp_path)
    denoiser, _ = folder.load(study / "denoisers" / "tiny")
    for where in (made, made / "last"):
        branch = branch_folder.read(where)
        loaded = branch_folder.load(where, branch, denoiser.settings, 8)
        assert not any(weight.requires_grad for weight in loaded.parameters())
    assert branch.modalities == ["T1w", "T2w", "T1Gd", "FLAIR"]
    assert float(loaded.control.controlnet_mid_block.conv.weight.abs().max()) > 0


def test_a_cut_off_training_ends_as_an_undisturbed_one(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = complete(study, tmp_path / "whole", steps=6)
    original, calls = StageC.step, []

    def dies(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(StageC, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        complete(study, tmp_path / "cut", steps=6)
    resumed = complete(study, tmp_path / "cut", steps=6)
    assert len(calls) == 4 + 4  # steps 1-2 were kept, 3-6 made again
    for name in ("model.safetensors", "history.csv", "config.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_what_does_not_fit_is_told(study: Path, tmp_path: Path) -> None:
    scans = cohort()
    alone = scans[(scans["split"] != "validation") | (scans["modality"] == "T1w")]
    with pytest.raises(UserError, match="no validation session has two modalities"):
        complete(study, tmp_path / "x", alone)
    with pytest.raises(UserError, match="no scan is in the train split"):
        complete(study, tmp_path / "x", scans[scans["split"] != "train"])
    with pytest.raises(UserError, match=r"config\.json is missing"):
        branch_folder.read(tmp_path)
    made = complete(study, tmp_path / "made", steps=1)
    text = (made / "config.json").read_text()
    (made / "config.json").write_text(text.replace('"denoiser_sha256": "', '"denoiser_sha256": "0'))
    with pytest.raises(UserError, match="is not the denoiser that"):
        branch_folder.read(made)
    (made / "config.json").write_text('{"kind": "denoiser"}')
    with pytest.raises(UserError, match="does not describe a completion"):
        branch_folder.read(made)
