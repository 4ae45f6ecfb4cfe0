"""Generation against what it promises."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.unit.sampling_study import REQUESTS, STEPS, lay_out, made
from tests.unit.stage_b import VOLUME, cohort, train
from wfdm.config.denoisers import DiscreteDiffusionSettings, RectifiedFlowSettings
from wfdm.config.generators import DiffusionSettings, SamplerSettings
from wfdm.errors import UserError
from wfdm.generators import Request, decoded_noise, folder, load
from wfdm.generators.latent_diffusion import LatentDiffusion, of_row
from wfdm.generators.protocol import Generator
from wfdm.latents.noise import start_noise
from wfdm.models.haar import inverse

STUDY = (4, 48, 56, 40)
RFLOW = RectifiedFlowSettings()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def generator(study: Path) -> LatentDiffusion:
    return load(study / "denoisers" / "tiny", SamplerSettings(steps=STEPS))


def test_a_sample_depends_on_nothing_but_itself(generator: Generator) -> None:
    """To the bit: not on order, number or kind of the other requests."""
    torch.set_num_threads(1)
    whole = made(generator, REQUESTS)
    assert list(whole) == ["a", "b", "c", "d", "e"]
    for requests in (REQUESTS[::-1], REQUESTS[1:], REQUESTS[3:4]):
        for name, volume in made(generator, requests).items():
            assert np.array_equal(volume, whole[name]), name


def test_a_draw_has_noise_of_its_own_and_says_so(study: Path) -> None:
    """The first is the denoiser's own, whatever the row is called; each scan's differs."""
    source = study / "denoisers" / "tiny" / "model.safetensors"
    row = {"kind": "diffusion", "denoiser": "tiny", "steps": STEPS}
    first, again, second = (
        of_row(name, DiffusionSettings(**row, draw=draw), source)
        for name, draw in (("x", 1), ("y", 1), ("z", 2))
    )
    volumes = [made(each, REQUESTS) for each in (first, again, second)]
    for name, volume in volumes[0].items():
        assert np.array_equal(volume, volumes[1][name])
        assert not np.array_equal(volume, volumes[2][name])
    assert first.made_by(REQUESTS[0], 0) == again.made_by(REQUESTS[0], 0)
    assert second.made_by(REQUESTS[0], 0)["Noise"] == "tiny, draw 2"


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
