"""Schedules and samplers against closed forms and MONAI; generation against what it promises."""

import json
import math
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.schedulers import RFlowScheduler
from monai.networks.schedulers.rectified_flow import timestep_transform

from tests.unit.stage_b import (
    SPACING,
    STATISTICS,
    VOLUME,
    cohort,
    encode_all,
    sample_stage,
    training_stage,
)
from wfdm.data.table import read_table
from wfdm.data.volumes import model_affine
from wfdm.errors import UserError
from wfdm.models.haar import inverse
from wfdm.sampling.generate import (
    Generator,
    Request,
    generate,
    load_generator,
    noise_generator,
    start_noise,
)
from wfdm.sampling.samplers import euler, interpolate
from wfdm.sampling.schedules import rflow_times, spatial_voxels, time_shift
from wfdm.sampling.write import describe_sample, sample_request, sample_shard, write_sample
from wfdm.training.diffusion import train_diffusion

STUDY = (4, 48, 56, 40)
STEPS = 3


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
    ours = rflow_times(50, spatial_voxels(STUDY), 32768)
    assert len(ours) == 51 and ours[-1] == 0
    assert (1000 * ours[:-1] - scheduler.timesteps).abs().max() <= 0.25
    assert abs(1000 * float(ours[25]) - 597.7) < 0.1  # r = 1.486, not 2.359 with channels


# --- samplers -------------------------------------------------------------------------------


def test_interpolation_is_monais() -> None:
    x0, noise, t = torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 4, 4, 4), torch.tensor([0.3, 0.9])
    theirs = RFlowScheduler(use_discrete_timesteps=False).add_noise(x0, noise, 1000 * t)
    torch.testing.assert_close(interpolate(x0, noise, t), theirs)


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_a_single_datum_is_reached_exactly(steps: int) -> None:
    """All paths to one x0 are straight, so Euler has no error at any number of steps."""
    x0 = torch.randn(2, 3, dtype=torch.float64)
    end = euler(lambda z, t: (x0 - z) / t, torch.randn_like(x0), rflow_times(steps, 500, 100))
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
    end = euler(gaussian_velocity, start, rflow_times(steps, 107520, 32768))
    return float((end - (MEAN + DEVIATION * start)).abs().max())


def test_gaussian_data_are_reached_at_first_order() -> None:
    errors = [gaussian_error(steps) for steps in (50, 100, 200, 400)]
    ratios = [late / early for early, late in pairwise(errors)]
    assert errors[0] < 0.05
    assert all(abs(ratio - 0.5) < 0.05 for ratio in ratios)


# --- generation -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with latents and a barely trained generator."""
    root = tmp_path_factory.mktemp("study")
    latents = encode_all(root, cohort())
    out = root / "generators" / "tiny"
    train_diffusion(training_stage(), latents, cohort(), STATISTICS, out, 1, 0, "identity")
    return root


@pytest.fixture(scope="module")
def generator(study: Path) -> Generator:
    return load_generator(study / "generators" / "tiny")


REQUESTS = [
    Request("a", "T1w", {"age": "30"}),
    Request("b", "T2w", {}),
    Request("c", "FLAIR", {"sex": "male"}),
    Request("d", "T1Gd", {"tumor": "yes"}),
    Request("e", "T1w", {}),
]


def made(generator: Generator, requests: list[Request], seed: int = 7) -> dict[str, np.ndarray]:
    return {r.name: volume for r, volume in generate(generator, requests, STEPS, seed)}


def test_a_sample_depends_on_nothing_but_itself(generator: Generator) -> None:
    """To the bit: not on order, number or kind of the other requests."""
    torch.set_num_threads(1)
    whole = made(generator, REQUESTS)
    assert list(whole) == ["a", "b", "c", "d", "e"]
    for requests in (REQUESTS[::-1], REQUESTS[1:], REQUESTS[3:4]):
        for name, volume in made(generator, requests).items():
            assert np.array_equal(volume, whole[name]), name


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
    reference = noise_generator("noise", study / "latents")
    (_, volume), *_ = generate(reference, REQUESTS[:1], None, 7)
    noise = start_noise(reference, REQUESTS[0], 7)
    assert abs(float(noise.std()) - 1) < 0.05
    expected = inverse(noise[None] / reference.space.scale, "exact")[0, 0].clamp(0, 1)
    np.testing.assert_allclose(volume, expected.numpy(), atol=1e-6)


def test_unknown_modality_is_told(generator: Generator) -> None:
    with pytest.raises(UserError, match="unknown modality 'PD'"):
        made(generator, [Request("a", "PD", {})])


def test_a_folder_without_a_generator_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json is missing"):
        load_generator(tmp_path)


# --- files ----------------------------------------------------------------------------------


def test_written_sample_is_read_back(generator: Generator, tmp_path: Path) -> None:
    volume = made(generator, REQUESTS[:1])["a"]
    sidecar = describe_sample(generator, REQUESTS[0], STEPS, 7)
    for name in ("one", "two"):
        write_sample(tmp_path / name / "x.nii.gz", volume, SPACING, sidecar)
    image = nib.load(tmp_path / "one" / "x.nii.gz")
    assert np.array_equal(image.get_fdata(dtype=np.float32), volume)
    np.testing.assert_allclose(image.affine, model_affine(VOLUME.shape, SPACING))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    told = json.loads((tmp_path / "one" / "x.json").read_text())
    assert told["Synthetic"] is True
    assert (told["Contrast"], told["Conditions"], told["Seed"]) == ("T1w", {"age": "30"}, 7)
    assert set(told["ModelSHA256"]) == {"generator", "compressor"}
    first, second = (tmp_path / name / "x.nii.gz" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def run_shards(study: Path, out: Path, shards: int, seed: int = 7) -> list[list[str]]:
    """Sample all shards; return the rows of their tables."""
    rows = []
    for shard in range(shards):
        stage, folder = sample_stage(STEPS, seed), study / "generators" / "tiny"
        sample_shard(stage, folder, study / "latents", cohort(), shard, shards, out, 1)
        rows += read_table(out / f"shard-{shard:04d}.tsv").to_numpy().tolist()
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


def test_reference_needs_no_generator(study: Path, tmp_path: Path) -> None:
    sample_shard(sample_stage(None), None, study / "latents", cohort(), 0, 1, tmp_path, 1)
    table = read_table(tmp_path / "shard-0000.tsv")
    sidecar = Path(table["path"][0].replace(".nii.gz", ".json"))
    assert json.loads(sidecar.read_text())["SamplingSteps"] is None


def test_a_users_request(study: Path, tmp_path: Path) -> None:
    folder = study / "generators" / "tiny"
    wish = {"age": "60", "sex": "F"}
    paths = sample_request(folder, "FLAIR", wish, 3, tmp_path, seed=1, steps=2, threads=1)
    assert [path.name for path in paths] == [
        f"sub-synthetic{i:04d}_space-SRI24_desc-synthetic_FLAIR.nii.gz" for i in (1, 2, 3)
    ]
    assert len({path.read_bytes() for path in paths}) == 3
    told = json.loads(Path(str(paths[0]).replace(".nii.gz", ".json")).read_text())
    assert told["Conditions"] == {"age": "60", "sex": "female"}
    with pytest.raises(UserError, match="no field 'shoe'"):
        sample_request(folder, "FLAIR", {"shoe": "43"}, 1, tmp_path, 1, 2, 1)
