"""Schedules and samplers against closed forms and MONAI; generation against what it promises."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.schedulers import RFlowScheduler
from monai.networks.schedulers.rectified_flow import timestep_transform

from tests.unit.stage_b import SPACING, VOLUME, cohort, encode_all, train
from wfdm.config.denoisers import DiscreteDiffusionSettings, RectifiedFlowSettings
from wfdm.config.generators import SamplerSettings
from wfdm.data.mean_volumes import mean_volumes, read_means
from wfdm.data.metadata import load_schema
from wfdm.data.table import columns, read_table, write_table
from wfdm.data.volumes import load_standardised, model_affine
from wfdm.errors import UserError
from wfdm.generators import Request, decoded_noise, folder, load, references
from wfdm.generators.latent_diffusion import LatentDiffusion
from wfdm.generators.protocol import Generator
from wfdm.generators.write import sidecar, write_samples
from wfdm.latents.noise import start_noise
from wfdm.models.haar import inverse
from wfdm.processes.rflow import (
    noised,
    predicted,
    sampling_times,
    target,
    time_shift,
    training_times,
)
from wfdm.processes.samplers import euler
from wfdm.stages import sample_test

STUDY = (4, 48, 56, 40)
STEPS = 3
RFLOW = RectifiedFlowSettings()
CODE = "fingerprint"


# --- schedules ------------------------------------------------------------------------------


@given(st.floats(0, 1, allow_subnormal=False), st.integers(1, 10**7))
def test_time_shift_is_monais(t: float, voxels: int) -> None:
    """MONAI's function on times of 0 to 1000 is the oracle."""
    ours = time_shift(torch.tensor(t, dtype=torch.float64), voxels, 32768)
    assert math.isclose(float(ours), timestep_transform(1000 * t, voxels) / 1000, abs_tol=1e-12)


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_time_shift_keeps_ends_and_order(voxels: int, reference: int) -> None:
    shifted = time_shift(torch.linspace(0, 1, 20, dtype=torch.float64), voxels, reference)
    assert float(shifted[0]) == 0 and math.isclose(float(shifted[-1]), 1)
    assert bool((shifted.diff() > 0).all())


def test_times_are_monais_with_spatial_voxels() -> None:
    """MONAI rounds its times to half precision: 0.25 of 1000 is the most that may differ."""
    scheduler = RFlowScheduler(use_discrete_timesteps=False, use_timestep_transform=True)
    scheduler.set_timesteps(50, input_img_size_numel=48 * 56 * 40)
    ours = sampling_times(50, STUDY, RFLOW)
    assert len(ours) == 51 and ours[-1] == 0
    assert (1000 * ours[:-1] - scheduler.timesteps).abs().max() <= 0.25
    assert abs(1000 * float(ours[25]) - 597.7) < 0.1  # r = 1.486, not 2.359 with channels


# --- samplers -------------------------------------------------------------------------------


def test_interpolation_is_monais() -> None:
    x0, noise, t = torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 4, 4, 4), torch.tensor([0.3, 0.9])
    theirs = RFlowScheduler(use_discrete_timesteps=False).add_noise(x0, noise, 1000 * t)
    torch.testing.assert_close(noised(x0, noise, t, RFLOW), theirs)


def test_the_target_is_minus_the_paths_derivative() -> None:
    """d x_t / dt by central differences in double precision."""
    x0, noise = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    t, h = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), 1e-5
    slope = (noised(x0, noise, t + h, RFLOW) - noised(x0, noise, t - h, RFLOW)) / (2 * h)
    torch.testing.assert_close(target(x0, noise, t, RFLOW), -slope, rtol=0, atol=1e-8)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_the_linear_answer_is_the_best_one(t: float) -> None:
    """NumPy's least squares on a million pairs of unit-variance data and noise."""
    rng = np.random.default_rng(0)
    x0, noise = rng.standard_normal((2, 1_000_000))
    noisy = (1 - t) * x0 + t * noise
    (slope,), (squares,), *_ = np.linalg.lstsq(noisy[:, None], x0 - noise, rcond=None)
    one = torch.ones(1, 1, dtype=torch.float64)
    time = torch.tensor([t], dtype=torch.float64)
    assert float(predicted(0 * one, one, time, RFLOW)) == pytest.approx(slope, abs=0.005)
    assert squares / 1e6 == pytest.approx(1 / ((1 - t) ** 2 + t**2), rel=0.01)
    off = RectifiedFlowSettings(linear_answer=False)
    assert float(predicted(0 * one, one, time, off)) == 0


def test_training_and_sampling_share_their_times() -> None:
    """Uniform draws on the sampler's even grid give the sampler's times."""
    even = torch.linspace(1, 0, 51, dtype=torch.float64)
    assert torch.equal(training_times(even, STUDY, RFLOW), sampling_times(50, STUDY, RFLOW))


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_a_single_datum_is_reached_exactly(steps: int) -> None:
    """All paths to one x0 are straight, so Euler has no error at any number of steps."""
    x0 = torch.randn(2, 3, dtype=torch.float64)
    times = sampling_times(steps, STUDY, RFLOW)
    end = euler(lambda z, t: (x0 - z) / t, torch.randn_like(x0), times)
    torch.testing.assert_close(end, x0, rtol=0, atol=1e-12)


MEAN, DEVIATION = 1.5, 0.4


def gaussian_velocity(z: torch.Tensor, t: float) -> torch.Tensor:
    """E[x0 - noise | x_t = z] for data N(MEAN, DEVIATION**2), by Gaussian conditioning."""
    variance = (1 - t) ** 2 * DEVIATION**2 + t**2
    centred = (z - (1 - t) * MEAN) / variance
    return MEAN + (1 - t) * DEVIATION**2 * centred - t * centred


def gaussian_error(steps: int) -> float:
    """Error of Euler's end point; the exact flow maps noise e to MEAN + DEVIATION * e."""
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    end = euler(gaussian_velocity, start, sampling_times(steps, STUDY, RFLOW))
    return float((end - (MEAN + DEVIATION * start)).abs().max())


def test_gaussian_data_are_reached_at_first_order() -> None:
    errors = [gaussian_error(steps) for steps in (50, 100, 200, 400)]
    ratios = [late / early for early, late in pairwise(errors)]
    assert errors[0] < 0.05
    assert all(abs(ratio - 0.5) < 0.05 for ratio in ratios)


# --- generation -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables, latents and a barely trained denoiser."""
    root = tmp_path_factory.mktemp("study")
    scans = cohort()
    latents = encode_all(root, scans)
    train(latents, root / "denoisers" / "tiny")
    full = scans.assign(path="x.nii.gz", state="raw")
    write_table(full[list(columns())], root / "scans.tsv")
    volumes = scans.assign(path=[str(root / f"{number}.nii.gz") for number in range(len(scans))])
    write_table(volumes[["scan_id", "modality", "path"]], root / "volumes.tsv")
    mean_volumes(volumes[volumes["split"] == "train"], VOLUME, root / "means.safetensors")
    splits = scans[["scan_id", "person", "split"]].assign(leak="")
    write_table(splits, root / "splits.tsv")
    return root


@pytest.fixture(scope="module")
def generator(study: Path) -> LatentDiffusion:
    return load(study / "denoisers" / "tiny", SamplerSettings(steps=STEPS))


REQUESTS = [
    Request("a", "T1w", {"age": "30"}),
    Request("b", "T2w", {}),
    Request("c", "FLAIR", {"sex": "male"}),
    Request("d", "T1Gd", {"tumor": "yes"}),
    Request("e", "T1w", {}),
]


def made(generator: Generator, requests: list[Request], seed: int = 7) -> dict[str, np.ndarray]:
    return {each.request.name: each.volume for each in generator.sample(requests, seed)}


def test_a_sample_depends_on_nothing_but_itself(generator: Generator) -> None:
    """To the bit: not on order, number or kind of the other requests."""
    torch.set_num_threads(1)
    whole = made(generator, REQUESTS)
    assert list(whole) == ["a", "b", "c", "d", "e"]
    for requests in (REQUESTS[::-1], REQUESTS[1:], REQUESTS[3:4]):
        for name, volume in made(generator, requests).items():
            assert np.array_equal(volume, whole[name]), name


EIGHT = [
    Request(f"sub-{number}", modality, {"age": str(20 + number)} if number % 3 else {})
    for number, modality in enumerate(("T1w", "T2w", "T1Gd", "FLAIR") * 2)
]


@pytest.fixture(scope="module")
def noisy(study: Path) -> Path:
    """The folder of a denoiser for DDPM, trained with and without metadata."""
    task = {"process": DiscreteDiffusionSettings(kind="ddpm"), "conditioning_dropout": 0.5}
    return train(study / "latents", study / "denoisers" / "noisy", **task)


@pytest.mark.parametrize(
    ("denoiser", "sampling"),
    [
        ("tiny", {"sampler": "euler"}),
        ("tiny", {"sampler": "heun"}),
        ("noisy", {"sampler": "ancestral"}),
        ("noisy", {"sampler": "ddim", "eta": 0.5, "guidance": 2.0}),
        ("noisy", {"sampler": "dpm-solver++"}),
    ],
)
def test_a_sample_has_the_same_bits_in_any_batch(
    denoiser: str, sampling: dict, study: Path, noisy: Path
) -> None:
    """One batch of 8, 8 of one, 3 uneven ones; other orders put others beside it."""
    torch.set_num_threads(1)
    ways = [
        load(study / "denoisers" / denoiser, SamplerSettings(steps=STEPS, batch=size, **sampling))
        for size in (8, 1, 3)
    ]
    whole, *others = (made(each, EIGHT) for each in ways)
    others.append(made(ways[2], EIGHT[::-1]))
    assert len({volume.tobytes() for volume in whole.values()}) == 8
    for other in others:
        for name, volume in whole.items():
            assert np.array_equal(volume, other[name]), name


def test_guidance_leads_from_the_answer_without_metadata_to_the_one_with(noisy: Path) -> None:
    """One step of one process is linear in the answer: u + g (c - u), latents in its place."""
    told, untold = Request("a", "T1w", {"age": "30"}), Request("a", "T1w")

    def latent(request: Request, guidance: float) -> torch.Tensor:
        sampling = SamplerSettings(sampler="ddim", steps=1, guidance=guidance)
        return load(noisy, sampling).denoise([request], 7)

    c, u = latent(told, 1.0), latent(untold, 1.0)
    assert (c - u).abs().max() > 1e-3
    torch.testing.assert_close(latent(told, 3.0), u + 3 * (c - u), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(latent(told, 0.0), u)
    torch.testing.assert_close(latent(untold, 3.0), u)


@pytest.mark.parametrize(
    ("denoiser", "sampling", "said"),
    [
        ("tiny", {"sampler": "ddim"}, "ddim does not fit the process rflow of the denoiser"),
        ("noisy", {"sampler": "euler"}, "there is ancestral, ddim, dpm-solver"),
        ("tiny", {"guidance": 2.0}, "trained with conditioning_dropout above 0"),
    ],
)
def test_a_sampler_that_the_denoiser_does_not_fit_is_refused(
    denoiser: str, sampling: dict, said: str, study: Path, noisy: Path
) -> None:
    with pytest.raises(UserError, match=said):
        load(study / "denoisers" / denoiser, SamplerSettings(**sampling))


def test_volumes_are_standard(generator: Generator) -> None:
    for volume in made(generator, REQUESTS).values():
        assert volume.shape == VOLUME.shape and volume.dtype == np.float32
        assert volume.min() >= 0 and volume.max() <= 1


def test_request_and_seed_decide(generator: Generator) -> None:
    first = made(generator, REQUESTS[:1])["a"]
    others = [
        made(generator, REQUESTS[:1], seed=8)["a"],
        made(generator, [Request("a", "T2w", {"age": "30"})])["a"],
        made(generator, [Request("a", "T1w", {"age": "80"})])["a"],
        made(generator, [Request("z", "T1w", {"age": "30"})])["z"],
    ]
    assert not any(np.array_equal(first, other) for other in others)


def test_reference_is_decoded_noise(study: Path) -> None:
    reference = decoded_noise.load("noise", study / "latents")
    (sample,) = reference.sample(REQUESTS[:1], 7)
    noise = start_noise(reference.space.shape, "noise", REQUESTS[0].name, 7)
    assert abs(float(noise.std()) - 1) < 0.05
    expected = inverse(noise[None] / reference.space.scale, "exact")[0, 0].clamp(0, 1)
    np.testing.assert_allclose(sample.volume, expected.numpy(), atol=1e-6)


def test_unknown_modality_is_told(generator: Generator) -> None:
    with pytest.raises(UserError, match="unknown modality 'PD'"):
        made(generator, [Request("a", "PD", {})])


def test_a_modality_that_it_never_saw_is_refused(study: Path, tmp_path: Path) -> None:
    scans = cohort()
    few = scans[scans["modality"].isin(["T1w", "T2w"]) | (scans["split"] != "train")]
    blind = load(train(study / "latents", tmp_path, few, steps=1), SamplerSettings(steps=1))
    with pytest.raises(UserError, match="not trained on FLAIR; it makes T1w, T2w"):
        made(blind, REQUESTS[2:3])


def test_a_folder_without_a_denoiser_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json is missing"):
        load(tmp_path)


def test_another_sampler_or_step_count_needs_no_training(study: Path) -> None:
    """The same folder, two step counts: other volumes."""
    few, many = (load(study / "denoisers" / "tiny", SamplerSettings(steps=n)) for n in (1, 5))
    a, b = (made(each, REQUESTS[:1])["a"] for each in (few, many))
    assert not np.array_equal(a, b)


def test_finished_volumes_are_a_generator_too(tmp_path: Path) -> None:
    for name, value in (("one", 1.0), ("two", 2.0)):
        volume = np.full((4, 5, 6), value, np.float32)
        volume[0, 0, 0] = 0
        nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2, 2, 1])), tmp_path / f"{name}.nii.gz")
    table = tmp_path / "table.tsv"
    table.write_text("modality\tpath\nT1w\tone.nii.gz\nFLAIR\ttwo.nii.gz\n")
    theirs = folder.load("theirs", table)
    assert theirs.modalities == ("T1w", "FLAIR")
    samples = list(theirs.sample(theirs.requests(), 7))
    assert [float(each.volume.max()) for each in samples] == [1.0, 2.0]
    np.testing.assert_array_equal(samples[0].affine, np.diag([2.0, 2, 2, 1]))
    with pytest.raises(UserError, match="theirs was not trained on T2w"):
        next(theirs.sample([Request("x", "T2w")], 7))
    table.write_text("modality\tpath\nPD\tone.nii.gz\n")
    with pytest.raises(UserError, match="unknown modality 'PD'"):
        folder.load("theirs", table)


# --- files ----------------------------------------------------------------------------------


def test_written_sample_is_read_back(generator: LatentDiffusion, tmp_path: Path) -> None:
    first, second = (tmp_path / name / "x.nii.gz" for name in ("one", "two"))
    for path in (first, second):
        write_samples(generator, {path: REQUESTS[0]}, 7, CODE, "test")
    image = nib.load(first)
    assert np.array_equal(image.get_fdata(dtype=np.float32), made(generator, REQUESTS[:1])["a"])
    np.testing.assert_allclose(image.affine, model_affine(VOLUME.shape, SPACING))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.header["descrip"].tobytes().startswith(b"SYNTHETIC")
    told = json.loads((tmp_path / "one" / "x.json").read_text())
    assert told["Synthetic"] is True
    assert (told["Contrast"], told["Conditions"], told["Seed"]) == ("T1w", {"age": "30"}, 7)
    assert (told["Sampler"], told["SamplingSteps"], told["CodeSHA256"]) == ("euler", STEPS, CODE)
    assert set(told["ModelSHA256"]) == {"denoiser", "compressor", "standard"}
    assert first.read_bytes() == second.read_bytes()


DECODED = ("noise", "reconstruction")
SOURCES = {
    "noise": "latents/scale.json",
    "reconstruction": "compressors/haar/model.safetensors",
    "mean": "means.safetensors",
    "real": "volumes.tsv",
}


def parsed(content: dict) -> Any:
    """The settings of the stage on the small study's grid."""
    grid = {"volume": VOLUME.model_dump(), "spacing": SPACING}
    return sample_test.Settings.parse(json.dumps(content | grid))


def run_shards(
    study: Path, out: Path, shards: int, seed: int = 7, kind: str = "diffusion"
) -> list[list[str]]:
    """Sample all shards by the stage; return the rows of their tables."""
    made = {"kind": "diffusion", "denoiser": "tiny", "steps": STEPS}
    source = study / "denoisers" / "tiny" / "model.safetensors"
    if kind != "diffusion":
        made = {"kind": kind, "compressor": "haar"} if kind in DECODED else {"kind": kind}
        source = study / SOURCES[kind]
    settings = parsed({"seed": seed, "generator": "tiny", "made": made})
    rows = []
    for shard in range(shards):
        file = out / f"shard-{shard:04d}-of-{shards:04d}.tsv"
        tables = (study / f"{name}.tsv" for name in ("scans", "splits", "volumes"))
        sample_test.run(settings, *tables, shard, shards, file, source=source)
        rows += read_table(file).to_numpy().tolist()
    return sorted(rows)


def test_each_test_scan_is_sampled_once(study: Path, tmp_path: Path) -> None:
    rows = run_shards(study, tmp_path, 3)
    scans = cohort()
    assert [row[0] for row in rows] == sorted(scans.loc[scans["split"] == "test", "scan_id"])
    paths = [Path(row[2]).relative_to(tmp_path).as_posix() for row in rows]
    assert paths[0] == "ALPHA/sub-08/anat/sub-08_space-SRI24_desc-synthetic_T1w.nii.gz"
    assert paths[1].startswith("ALPHA/sub-09/ses-1/anat/sub-09_ses-1_space-SRI24")
    assert "_ce-gadolinium_" in paths[2] and paths[2].endswith("_T1w.nii.gz")
    digests = [row[3] for row in run_shards(study, tmp_path / "again", 1)]
    assert digests == [row[3] for row in rows]


def test_what_is_there_is_kept_and_what_is_not_is_made(study: Path, tmp_path: Path) -> None:
    before = run_shards(study, tmp_path, 1)
    kept, lost, *_ = (Path(row[2]) for row in before)
    time = kept.stat().st_mtime_ns
    lost.unlink()
    assert run_shards(study, tmp_path, 1) == before
    assert kept.stat().st_mtime_ns == time
    after = run_shards(study, tmp_path, 1, seed=8)
    assert not {row[3] for row in before} & {row[3] for row in after}


def test_reference_needs_no_denoiser(study: Path, tmp_path: Path) -> None:
    rows = run_shards(study, tmp_path, 1, kind="noise")
    told = json.loads(Path(rows[0][2].replace(".nii.gz", ".json")).read_text())
    assert "SamplingSteps" not in told and set(told["ModelSHA256"]) == {"compressor"}


def sidecar_of(path: str) -> dict:
    """What lies beside a volume."""
    return json.loads(Path(path.replace(".nii.gz", ".json")).read_text())


def test_real_scans_are_drawn_from_the_training_split_and_only_listed(
    study: Path, tmp_path: Path
) -> None:
    rows = run_shards(study, tmp_path / "out", 2, kind="real")
    volumes = read_table(study / "volumes.tsv").set_index("scan_id")
    split = cohort().set_index("scan_id")["split"]
    # The test split has one scan of each modality, and the training split one or two.
    assert sorted(row[1] for row in rows) == ["FLAIR", "T1Gd", "T1w", "T2w"]
    for name, modality, path, _, scale in rows:
        assert split[name] == "train" and scale == ""
        assert volumes.loc[name, ["modality", "path"]].tolist() == [modality, path]
    assert not list((tmp_path / "out").rglob("*.nii.gz"))
    assert rows == run_shards(study, tmp_path / "again", 1, kind="real")


def test_real_scans_are_drawn_by_the_seed_each_once() -> None:
    names = [f"A/sub-{number}" for number in range(3)]
    training = pd.DataFrame({"scan_id": names, "modality": "T2w", "path": names})
    drawn = [
        references.draw_real(training, {"T2w": 2}, seed, "real-train")["scan_id"].tolist()
        for seed in range(40)
    ]
    assert all(len(set(each)) == 2 for each in drawn)
    assert {name for each in drawn for name in each} == set(names)
    few = references.draw_real(training, {"T2w": 4, "FLAIR": 1}, 1, "real-train")
    assert few["scan_id"].tolist() == names


def test_reconstructions_are_the_test_scans_through_the_compressor(
    study: Path, tmp_path: Path
) -> None:
    rows = run_shards(study, tmp_path / "out", 1, kind="reconstruction")
    volumes = read_table(study / "volumes.tsv").set_index("scan_id")["path"]
    assert len(rows) == 4
    for name, _, path, _, scale in rows:
        wanted = load_standardised(volumes[name], VOLUME)[0]  # the Haar transform loses nothing
        np.testing.assert_allclose(nib.load(path).get_fdata(), wanted, atol=1e-5)
        told = sidecar_of(path)
        assert told["Synthetic"] is False and told["Sources"] == [volumes[name]]
        assert scale == "unit" and "desc-reconstruction" in path
        assert nib.load(path).header["descrip"].tobytes().startswith(b"REFERENCE")


def test_the_mean_of_a_modality_is_written_once_and_listed_for_every_scan(
    study: Path, tmp_path: Path
) -> None:
    rows = run_shards(study, tmp_path / "out", 1, kind="mean")
    means = read_means(study / "means.safetensors")
    assert len(rows) == 4 == len(list((tmp_path / "out").rglob("*.nii.gz")))
    for _, modality, path, _, scale in rows:
        np.testing.assert_array_equal(nib.load(path).get_fdata(dtype="f4"), means[modality][0])
        assert sidecar_of(path)["Synthetic"] is False and scale == "unit"


def test_metadata_that_the_schema_does_not_know_is_told(generator: LatentDiffusion) -> None:
    request = Request("a", "T1w", {"sex": "maybe"})
    with pytest.raises(UserError, match="sex is in no known spelling"):
        made(generator, [request])
    with pytest.raises(UserError, match="sex is in no known spelling"):
        sidecar(request, {}, CODE)
    assert "sex" in load_schema().names


def test_finished_volumes_are_written_once_each(study: Path, tmp_path: Path) -> None:
    """Two files of one name in two folders; the sidecar claims nothing that nobody checked."""
    lines = ["modality\tpath"]
    for value, place in enumerate(("a", "b"), start=1):
        volume = np.full((4, 5, 6), float(value), np.float32)
        volume[0, 0, 0] = 0
        (tmp_path / place).mkdir()
        nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2, 2, 1])), tmp_path / place / "x.nii")
        lines.append(f"T1w\t{place}/x.nii")
    table = tmp_path / "table.tsv"
    table.write_text("\n".join(lines) + "\n")
    made = {"kind": "folder", "table": str(table)}
    settings = parsed({"seed": 7, "generator": "t", "made": made})
    tables = [study / f"{name}.tsv" for name in ("scans", "splits", "volumes")]
    found = []
    for shard in range(2):
        file = tmp_path / "made" / f"shard-{shard:04d}-of-0002.tsv"
        sample_test.run(settings, *tables, shard, 2, file, source=table)
        found += read_table(file)["path"].tolist()
    assert sorted(float(nib.load(path).get_fdata().max()) for path in found) == [1.0, 2.0]
    told = json.loads(Path(found[0].replace(".nii.gz", ".json")).read_text())
    assert told["Synthetic"] is True and "SkullStripped" not in told and "Space" not in told
    assert told["SourceSHA256"] and told["Sources"][0].endswith("x.nii")
