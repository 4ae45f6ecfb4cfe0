"""Completing sessions: what decides a volume, what is refused, and how it is labelled."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.completion_study import complete, lay_out, make
from tests.unit.stage_b import VOLUME
from wfdm.config.completions import CompletionSampling
from wfdm.data.table import read_table
from wfdm.errors import UserError
from wfdm.generators import Request, latent_diffusion
from wfdm.generators.completion import Completing, Completion, load
from wfdm.models.denoisers.branch import Branch
from wfdm.provenance.digests import sha256_of
from wfdm.stages import complete as complete_stage
from wfdm.stages import complete_cohort, completed

SAMPLING = CompletionSampling(steps=3).exact


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a barely trained branch."""
    root = make(tmp_path_factory.mktemp("study"))
    lay_out(root)
    complete(root, root / "completions" / "branch")
    return root


@pytest.fixture(scope="module")
def completion(study: Path) -> Completion:
    torch.set_num_threads(1)
    return load(study / "completions" / "branch", SAMPLING)


def scans(study: Path, subject: str, *modalities: str) -> dict[str, Path]:
    """Volumes of a session, by modality."""
    table = read_table(study / "preprocessed" / "volumes.tsv").set_index("scan_id")["path"]
    return {name: Path(table[f"ALPHA/sub-{subject}_{name}"]) for name in modalities}


def made(completion: Completion, requests: Sequence[Request], seed: int = 7) -> list[np.ndarray]:
    return [each.volume for each in completion.sample(requests, seed)]


def test_a_completed_scan_depends_on_its_request_and_seed_alone(
    study: Path, completion: Completion
) -> None:
    both = scans(study, "05", "T1w", "FLAIR")
    asked = [
        Completing("a", "T2w", {"age": "30"}, sources=both),
        Completing("a", "T1Gd", {"age": "30"}, sources=both),
        Completing("a", "T2w", {"age": "30"}, sources=scans(study, "05", "T1w")),
        Completing("a", "T2w", {"age": "30"}, sources=scans(study, "06", "T1w")),
        Completing("a", "T2w", {"age": "80"}, sources=both),
        Completing("b", "T2w", {"age": "30"}, sources=both),
    ]
    whole = made(completion, asked)
    assert len({volume.tobytes() for volume in whole}) == len(asked)
    for volume in whole:
        assert volume.shape == VOLUME.shape and volume.dtype == np.float32
        assert volume.min() >= 0 and volume.max() <= 1
    again = made(load(study / "completions" / "branch", SAMPLING), asked[::-1])[::-1]
    assert all(map(np.array_equal, again, whole))
    turned = Completing("a", "T2w", {"age": "30"}, sources=dict(reversed(both.items())))
    assert np.array_equal(made(completion, [turned])[0], whole[0])
    assert not np.array_equal(made(completion, asked[:1], seed=8)[0], whole[0])


def test_with_a_fresh_branch_it_is_the_generators_own_sample(
    study: Path, completion: Completion
) -> None:
    """To the last bit, from the same noise: whatever is told says nothing yet."""
    network = completion.frozen.denoiser.settings
    fresh = replace(
        completion,
        name=completion.frozen.name,
        branch=Branch(network, completion.frozen.space.shape[0], 8, 8).eval(),
    )
    told = Completing("a", "T2w", {"age": "30"}, sources=scans(study, "05", "T1w", "FLAIR"))
    (own,) = completion.frozen.sample([Request("a", "T2w", {"age": "30"})], 7)
    assert np.array_equal(made(fresh, [told])[0], own.volume)


def test_the_mean_of_draws_varies_as_means_do(study: Path, completion: Completion) -> None:
    """Of n independent draws a mean has an nth of the variance; one draw is as without `draws`."""
    told = Completing("a", "T2w", {"age": "30"}, sources=scans(study, "05", "T1w"))

    def spread(draws: int) -> float:
        several = replace(completion, draws=draws)
        one, other = (several._completed(told, seed)[0] for seed in (7, 8))
        return float((one - other).square().mean())

    assert spread(16) == pytest.approx(spread(1) / 16, rel=0.3)
    assert np.array_equal(
        made(replace(completion, draws=1), [told])[0], made(completion, [told])[0]
    )
    assert completion.made_by(told, 7)["Draws"] == 1


def test_the_generators_own_samples_stay_as_they_were(study: Path) -> None:
    """Before and after a branch is trained on the denoiser, and after one is asked."""
    folder = study / "denoisers" / "tiny"
    request = Request("a", "T2w", {"age": "30"})

    def own() -> tuple[np.ndarray, str]:
        (sample,) = latent_diffusion.load(folder, SAMPLING).sample([request], 7)
        return sample.volume, sha256_of(folder / "model.safetensors")

    volume, digest = own()
    complete(study, study / "completions" / "other", steps=2)
    loaded = load(study / "completions" / "other", SAMPLING)
    made(loaded, [Completing("a", "T2w", {}, sources=scans(study, "05", "T1w"))])
    (asked,) = loaded.frozen.sample([request], 7)
    after, same = own()
    assert np.array_equal(volume, after) and np.array_equal(volume, asked.volume)
    assert digest == same


def test_what_cannot_be_completed_is_told(study: Path, completion: Completion) -> None:
    some = scans(study, "05", "T1w")
    for request, said in (
        (Request("a", "T2w"), "needs a scan of the session"),
        (Completing("a", "T1w", sources=some), "made from the others alone"),
        (Completing("a", "PD", sources=some), "unknown modality 'PD'"),
        (Completing("a", "T2w", sources={"PD": some["T1w"]}), "unknown modality 'PD'"),
    ):
        with pytest.raises(UserError, match=said):
            made(completion, [request])
    blind = replace(completion, frozen=replace(completion.frozen, modalities=("T2w", "FLAIR")))
    with pytest.raises(UserError, match="was not trained on T1w"):
        made(blind, [Completing("a", "T2w", sources=some)])
    other = replace(completion.frozen.space, spacing=1.0)
    coarse = replace(completion, frozen=replace(completion.frozen, space=other))
    with pytest.raises(UserError, match="has voxels of 2 x 2 x 2 mm, and branch was trained on 1"):
        made(coarse, [Completing("a", "T2w", sources=some)])


# --- a cohort -------------------------------------------------------------------------------


def run_cohort(study: Path, out: Path, missing: bool = False, shards: int = 2) -> list[dict]:
    settings = {"seed": 7, "completion": "branch", "sampling": {"steps": 1}}
    rows = []
    for shard in range(shards):
        table = out / f"shard-{shard:04d}-of-{shards:04d}.tsv"
        complete_cohort.run(
            complete_cohort.Settings.parse(json.dumps(settings)),
            study / "completions" / "branch" / "model.safetensors",
            study / "scans.tsv",
            study / "splits.tsv",
            study / "preprocessed" / "volumes.tsv",
            shard,
            shards,
            table,
            missing=missing,
        )
        rows += read_table(table).to_dict("records")
    return sorted(rows, key=lambda row: row["path"])


def test_each_test_scan_is_made_from_every_subset_of_its_session(
    study: Path, tmp_path: Path
) -> None:
    rows = run_cohort(study, tmp_path)
    assert len(rows) == 4 * 7 + 2  # the third session has nothing to go with it
    assert len({row["path"] for row in rows}) == len({row["sha256"] for row in rows}) == 30
    assert {row["synthetic"] for row in rows} == {"true"}
    of_one = {row["sources"] for row in rows if row["scan_id"] == "ALPHA/sub-05_T2w"}
    assert of_one == {
        *("T1w", "T1Gd", "FLAIR", "T1w+T1Gd", "T1w+FLAIR", "T1Gd+FLAIR", "T1w+T1Gd+FLAIR")
    }
    for row in rows:
        told = json.loads(Path(row["path"].replace(".nii.gz", ".json")).read_text())
        assert told["Synthetic"] is True and "Synthetic" in told["Description"]
        assert told["SourceModalities"] == row["sources"].split("+")
        assert told["Contrast"] == row["modality"] not in row["sources"].split("+")
        assert set(told["ModelSHA256"]) == {"denoiser", "compressor", "standard", "completion"}
        assert [sha256_of(Path(path)) for path in told["Sources"]] == told["SourceSHA256"]
        assert "_desc-syntheticFrom" in row["path"]
    again = run_cohort(study, tmp_path / "again", shards=1)
    assert [row["sha256"] for row in again] == [row["sha256"] for row in rows]


def test_what_sessions_lack_is_made_and_stands_beside_no_real_scan(
    study: Path, tmp_path: Path
) -> None:
    """Unless the configuration says so; then a column tells which are synthetic."""
    rows = run_cohort(study, tmp_path, missing=True)
    volumes = study / "preprocessed" / "volumes.tsv"
    real = read_table(volumes)
    assert len(rows) == 8 * 4 - len(real) == 10
    assert not {row["scan_id"] for row in rows} & set(real["scan_id"])
    assert [row["sources"] for row in rows if "sub-07" in row["scan_id"]] == ["T2w"] * 3
    for mixed in (False, True):
        out = tmp_path / "volumes.tsv"
        completed.run(completed.Settings.parse(json.dumps({"mixed": mixed})), volumes, 2, out)
        table = read_table(out)
        assert len(table) == 10 + mixed * len(real)
        assert (table["synthetic"] == "true").sum() == 10
        assert set(table.loc[table["synthetic"] == "true", "scan_id"]) == {
            row["scan_id"] for row in rows
        }
    assert (tmp_path / "ALPHA" / "dataset_description.json").is_file()


# --- one session ----------------------------------------------------------------------------


def test_a_session_is_completed_on_request(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    session = study / "preprocessed" / "ALPHA" / "sub-03"  # has all but T1Gd
    before = {path: sha256_of(path) for path in session.rglob("*.*")}
    checkpoint = study / "completions" / "branch"
    complete_stage.run(checkpoint, session, out=tmp_path, steps=1, age=40.0, threads=1)
    (path,) = map(Path, capsys.readouterr().out.split())
    assert path.name == "sub-03_ce-gadolinium_space-SRI24_desc-synthetic_T1w.nii.gz"
    told = json.loads((tmp_path / path.name.replace(".nii.gz", ".json")).read_text())
    assert told["Synthetic"] is True and told["SourceModalities"] == ["T1w", "T2w", "FLAIR"]
    assert told["Conditions"]["age"] == "40"
    record = json.loads((tmp_path / f"{path.name}.prov.json").read_text())
    assert len(record["inputs"]) == 6 + 3
    time = path.stat().st_mtime_ns
    complete_stage.run(checkpoint, session, out=tmp_path, steps=1, age=40.0, threads=1)
    assert path.stat().st_mtime_ns == time
    assert {path: sha256_of(path) for path in session.rglob("*.*")} == before

    given = {"out": tmp_path, "steps": 1, "threads": 1}
    with pytest.raises(UserError, match="has a T2w already"):
        complete_stage.run(checkpoint, session, ["T2w"], **given)
    complete_stage.run(checkpoint, session, ["T2w"], ["T1w"], **given)
    (again,) = tmp_path.glob("sub-03_space-SRI24_desc-synthetic_T2w.nii.gz")
    assert json.loads(Path(str(again)[:-7] + ".json").read_text())["SourceModalities"] == ["T1w"]
    with pytest.raises(UserError, match="has no T1Gd; there is FLAIR, T1w, T2w"):
        complete_stage.run(checkpoint, session, None, ["T1Gd"], **given)
    with pytest.raises(UserError, match="lacks no modality that branch makes"):
        complete_stage.run(checkpoint, session.with_name("sub-05"), **given)
    with pytest.raises(UserError, match=r"holds sub-00, sub-01.* name one of them"):
        complete_stage.run(checkpoint, session.parent, **given)
    with pytest.raises(UserError, match="there is no volume called sub-9 that was preprocessed"):
        complete_stage.run(checkpoint, session.parent, prefix="sub-9", **given)
    with pytest.raises(UserError, match="ddim does not fit the process rflow"):
        complete_stage.run(checkpoint, session, sampler="ddim", **given)
