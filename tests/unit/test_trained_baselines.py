"""Published systems, trained here: what they see, what they are told, how they learn and sample."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.stage_b import STATISTICS, VOLUME, cohort, die_at_step, encode_all, training_task
from wfdm.baselines import med_ddpm_networks as med
from wfdm.baselines import wdm_networks as wdm
from wfdm.baselines.ancestral import step_back
from wfdm.baselines.told import Told
from wfdm.config.compressors import Architecture, KLAutoencoder, Subbands, Voxels
from wfdm.config.denoisers import DiscreteDiffusionSettings, NetworkSettings
from wfdm.config.generators import InferenceSettings, SamplerSettings
from wfdm.config.networks import LdmNetwork, MedDdpmNetwork, WdmNetwork
from wfdm.data.metadata import load_schema
from wfdm.generators import Request, load
from wfdm.latents.cache import Latents
from wfdm.latents.moments import Moments
from wfdm.latents.noise import start_noise, step_noise
from wfdm.latents.standard import Standard
from wfdm.models.compressors.uncompressed import as_image, as_seen
from wfdm.models.denoisers import folder
from wfdm.models.denoisers.conditions import Conditions
from wfdm.seeds import seed_for, torch_generator
from wfdm.training.denoiser import StageB, train_denoiser
from wfdm.training.plan import Job

SMALL: dict[str, Any] = {"channels": (8, 16), "res_blocks": 1, "norm_groups": 8}


@dataclass(frozen=True)
class System:
    """A published system, small: its data, network, process and sampler."""

    architecture: Architecture
    network: NetworkSettings
    process: DiscreteDiffusionSettings
    sampling: SamplerSettings


def process(**settings: Any) -> DiscreteDiffusionSettings:
    return DiscreteDiffusionSettings(kind="ddpm", **settings)


SYSTEMS = {
    "wdm": System(
        Subbands(kind="subbands"),
        WdmNetwork(kind="wdm", **SMALL),
        process(schedule="linear", prediction="x0", beta_first=1e-4, beta_last=0.02),
        SamplerSettings(sampler="ancestral", steps=6, clamp=True),
    ),
    "med-ddpm": System(
        Voxels(kind="voxels"),
        MedDdpmNetwork(kind="med-ddpm", **SMALL),
        process(prediction="epsilon", timesteps=250),
        SamplerSettings(sampler="ancestral", steps=6, clamp=True),
    ),
    "ldm": System(
        KLAutoencoder(
            kind="autoencoder-kl", channels=(8, 8), res_blocks=1, latent_channels=3, norm_groups=8
        ),
        LdmNetwork(kind="ldm", **SMALL),
        process(
            schedule="scaled-linear", prediction="epsilon", beta_first=0.0015, beta_last=0.0205
        ),
        SamplerSettings(sampler="ddim", steps=6),
    ),
}
TRAINING = {"steps": 4, "learning_rate": 1e-3, "loss": "l2"}


@pytest.fixture(scope="module", params=SYSTEMS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def system(name: str) -> System:
    return SYSTEMS[name]


@pytest.fixture(scope="module")
def latents(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return encode_all(tmp_path_factory.mktemp("latents"), cohort(), 2, system.architecture)


def train(system: System, latents: Path, out: Path, **training: Any) -> Path:
    kind = "scale" if isinstance(system.network, LdmNetwork) else "unscaled"
    task = training_task(system.process, **(TRAINING | training))
    task = replace(task, network=system.network, latents=kind)
    train_denoiser(task, latents, cohort(), STATISTICS, Job(out, "identity"))
    return out


def given(count: int = 3) -> Conditions:
    rows = [{"sex": "male", "age": "3"}, {"age": "1"}, {}][:count]
    return Conditions.of(["T1w", "FLAIR", "T2w"][:count], rows, STATISTICS)


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """The network with a little in every weight, so that none of its layers is idle."""
    own = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=own)
    return network.eval()


def test_unscaled_latents_are_seen_as_the_compressor_gives_them(tmp_path: Path) -> None:
    latents = encode_all(tmp_path, cohort(), 2, Voxels(kind="voxels"))
    system = SYSTEMS["med-ddpm"]
    task = replace(training_task(system.process), network=system.network, latents="unscaled")
    cache = Latents(latents)
    standard = Standard.of("unscaled", Moments.read(latents), cache.space.scale)
    objective = StageB(task, cache, standard, cohort(), STATISTICS)
    item = objective.judged.item(0)
    seen = standard.seen(item["z"][None], item["modality"][None])
    assert float(seen.min()) == pytest.approx(-1, abs=0.02)  # of 4096 random voxels in [0, 1]
    assert float(seen.max()) == pytest.approx(1, abs=0.02)
    again = standard.scaled(seen, item["modality"][None])
    torch.testing.assert_close(again[0], item["z"])


# --- what they are told ---------------------------------------------------------------------


def test_modality_and_fields_stand_in_one_vector() -> None:
    """Ages have mean 1 and deviation 2; sexes are other, female, male."""
    told = Told(load_schema(), ["sex", "age"])
    expected = [
        [1, 0, 0, 0, 0, 0, 1, 1.0],
        [0, 0, 0, 1, 0, 0, 0, 0.0],
        [0, 1, 0, 0, 0, 0, 0, 0.0],  # nothing recorded
    ]
    assert told.vector(given()).tolist() == expected
    assert told.width == 8


def test_steps_are_the_authors_and_planes_and_labels_stand_where_theirs_do() -> None:
    """Against the published networks themselves, asked at step n - 1 of time n / T."""
    z, conditions = torch.randn((3, 8, 8, 8, 8)), given()
    steps = torch.tensor([1, 400, 1000])
    ours = shaken(folder.build(SYSTEMS["wdm"].network, (8, 8, 8, 8)))
    with torch.no_grad():
        ours.label.weight.zero_()
        answered = ours(z, steps / 1000, conditions)
        torch.testing.assert_close(answered, ours.network(z, steps - 1), rtol=1e-4, atol=1e-5)

    ours = shaken(folder.build(SYSTEMS["med-ddpm"].network, (1, 8, 8, 8)))
    steps = torch.tensor([1, 100, 250])
    planes = torch.zeros(3, 4, 8, 8, 8)
    for item, modality in enumerate(conditions.modality):
        planes[item, modality] = 1
    with torch.no_grad():
        answered = ours(z[:, :1], steps / 250, conditions)
        wanted = ours.network(torch.cat([z[:, :1], planes], 1), steps - 1)
    torch.testing.assert_close(answered, wanted, rtol=1e-4, atol=1e-5)


def test_ldms_network_answers_as_monais_own_pass_does() -> None:
    ours = shaken(folder.build(SYSTEMS["ldm"].network, (3, 8, 8, 8)))
    z, steps = torch.randn((3, 3, 8, 8, 8)), torch.tensor([1.0, 400, 1000])
    told = ours.told.vector(given())
    planes = told[..., None, None, None].expand(-1, -1, 8, 8, 8)
    with torch.no_grad():
        wanted = ours.network(torch.cat([z, planes], 1), steps - 1, context=told[:, None])
        answered = ours(z, steps / 1000, given())
    torch.testing.assert_close(answered, wanted, rtol=1e-4, atol=1e-5)


def test_they_hear_the_modality(name: str, system: System) -> None:
    shape = {"wdm": (8, 8, 8, 8), "med-ddpm": (1, 16, 16, 16), "ldm": (3, 8, 8, 8)}[name]
    network = shaken(folder.build(system.network, shape))
    z, t, conditions = torch.randn((1, *shape)), torch.tensor([0.4]), given(1)
    with torch.no_grad():
        one, other = (network(z, t, each) for each in (conditions, conditions.as_modality("T1Gd")))
    assert float((one - other).abs().mean()) > 1e-3 * float(one.abs().mean())


@pytest.mark.parametrize(
    ("network", "count"),
    [
        # The published counts, and what the conditions add to them: a label's embedding; one
        # channel of noise and four planes for four and four; planes and context of 8 for 4.
        (WdmNetwork(kind="wdm"), 57_914_824 + 4 * 256),
        (MedDdpmNetwork(kind="med-ddpm"), 57_562_564 - 27 * 64 * 3 - (27 * 64 + 1) * 3),
    ],
)
def test_published_sizes_are_the_defaults(network: NetworkSettings, count: int) -> None:
    channels = 8 if network.kind == "wdm" else 1
    with torch.device("meta"):
        made = folder.build(network, (channels, 96, 112, 80))
    assert sum(weight.numel() for weight in made.parameters()) == count


# --- training and sampling ------------------------------------------------------------------


def history(out: Path) -> list[dict[str, float]]:
    with open(out / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize(("loss", "power"), [("l1", 1), ("l2", 2)])
def test_untrained_loss_is_the_size_of_what_is_learned(
    loss: str, power: int, name: str, system: System, latents: Path, tmp_path: Path
) -> None:
    """A fresh network answers zero: what is left is the noise itself, or WDM's subbands."""
    train(system, latents, tmp_path, steps=1, learning_rate=1e-9, loss=loss, validation_scans=1)
    cache, scans, expected = Latents(latents), cohort(), []
    for scan in scans.loc[scans["split"] == "validation", "scan_id"]:
        data = torch.from_numpy(cache.scaled_mean(scan)) / cache.space.scale
        own = torch_generator(seed_for(7, "validation", scan))
        noise = torch.randn((1, *data.shape), generator=own)
        target = data if name == "wdm" else noise
        expected.append(float(target.abs().pow(power).mean()))
    assert min(abs(history(tmp_path)[0]["val_loss"] - value) for value in expected) < 1e-3


def test_it_learns(name: str, system: System, latents: Path, tmp_path: Path) -> None:
    """The training loss falls; WDM's slowly, for of random volumes there is little to tell."""
    steps = 60 if name == "wdm" else 20
    out = train(system, latents, tmp_path, steps=steps, validate_every=10, learning_rate=1e-2)
    losses = [row["loss"] for row in history(out)]
    assert losses[-1] < 0.97 * losses[0]


def test_a_cut_off_training_ends_as_an_undisturbed_one(
    system: System, latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(system, latents, tmp_path / "whole")
    calls = die_at_step(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train(system, latents, tmp_path / "cut")
    resumed = train(system, latents, tmp_path / "cut")
    assert len(calls) == 4 + 2  # steps 1 and 2 were kept
    for file in ("model.safetensors", "history.csv", "config.json"):
        assert (resumed / file).read_bytes() == (whole / file).read_bytes(), file


def test_half_precision_trains_and_samples_about_the_same(
    system: System, latents: Path, tmp_path: Path
) -> None:
    """bfloat16 keeps 8 bits; what differs more is refused before the first sample."""
    full = train(system, latents, tmp_path / "full")
    mixed = train(system, latents, tmp_path / "bf16", precision="bf16-mixed")
    losses = [[row["val_loss"] for row in history(out)] for out in (full, mixed)]
    np.testing.assert_allclose(*losses, rtol=0.05)
    assert losses[0] != losses[1]
    rounded = system.sampling.model_copy(
        update={"inference": InferenceSettings(arithmetic="bf16"), "steps": 2}
    )
    (sample,) = load(mixed, rounded).sample(REQUESTS[:1], 3)
    assert np.isfinite(sample.volume).all()


REQUESTS = [Request("a", "T1w", {"age": "30"}), Request("b", "FLAIR"), Request("c", "T1Gd")]


def test_it_samples_behind_the_protocol(system: System, latents: Path, tmp_path: Path) -> None:
    """Every modality, on the study's shape and range; alone or beside others the same bits."""
    generator = load(train(system, latents, tmp_path, ema_decay=0.0), system.sampling)
    together = list(generator.sample(REQUESTS, 3))
    for request, sample in zip(REQUESTS, together, strict=True):
        assert sample.volume.shape == VOLUME.shape and sample.volume.dtype == np.float32
        assert 0 <= sample.volume.min() < sample.volume.max() <= 1
        (alone,) = generator.sample([request], 3)
        assert np.array_equal(alone.volume, sample.volume)
    told = generator.made_by(REQUESTS[0], 3)
    assert told.get("Clamped", False) == system.sampling.clamp
    assert generator.modalities == ("T1w", "T2w", "T1Gd", "FLAIR")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        latents = encode_all(root, cohort(), 2, SYSTEMS[name].architecture)
        return train(SYSTEMS[name], latents, root / "denoisers" / name, ema_decay=0.0)

    return make


def test_med_ddpm_is_carried_by_the_authors_chain(trained: Callable[[str], Path]) -> None:
    """By `med_ddpm_networks.step`, which the authors' numbers hold; each tenth of 250 steps."""
    sampling = SamplerSettings(sampler="ancestral", steps=25, clamp=True)
    generator = load(trained("med-ddpm"), sampling)
    request = REQUESTS[1]
    x = start_noise(generator.space.shape, generator.name, request.name, 3)[None]
    planes = torch.zeros(1, 4, *x.shape[2:])
    planes[:, 3] = 1
    plan = med.schedule().every(torch.arange(9, 250, 10))
    for number, place in enumerate(reversed(range(25))):
        noise = step_noise(generator.space.shape, generator.name, [request.name], 3, number)
        x = med.step(generator.denoiser.network, plan, place, x, planes, noise)
    (ours,) = generator.sample([request], 3)
    np.testing.assert_allclose(ours.volume, (x[0, 0] / 2 + 0.5).numpy(), atol=1e-4)


def test_wdm_is_carried_by_the_authors_clamp_and_the_posterior(
    trained: Callable[[str], Path],
) -> None:
    """Its authors add noise of variance beta; ours is the posterior's (docs/baselines.md)."""
    generator = load(trained("wdm"), SamplerSettings(sampler="ancestral", steps=50, clamp=True))
    request, network = REQUESTS[0], generator.denoiser
    x = start_noise(generator.space.shape, generator.name, request.name, 3)[None]
    conditions = Conditions.of([request.modality], [request.metadata], STATISTICS)
    label = network.label(network.told.vector(conditions))
    plan = wdm.schedule().every(torch.arange(19, 1000, 20))
    with torch.no_grad():
        for number, place in enumerate(reversed(range(50))):
            embedding = network.network.embedded(plan.asked[place : place + 1]) + label
            image = as_image(network.network.answer(x, embedding)).clamp(-1, 1)
            noise = step_noise(generator.space.shape, generator.name, [request.name], 3, number)
            x = step_back(plan, place, x, as_seen(image), noise, "posterior")
    (ours,) = generator.sample([request], 3)
    wanted = (as_image(x)[0, 0] / 2 + 0.5).clamp(0, 1)
    np.testing.assert_allclose(ours.volume, wanted.numpy(), atol=1e-4)


def test_clamped_data_are_of_volumes_in_range(trained: Callable[[str], Path]) -> None:
    generator = load(trained("wdm"), SYSTEMS["wdm"].sampling)
    x0 = 2 * torch.randn((2, 8, 8, 8, 8))
    found = generator._clamped(x0, torch.tensor([0, 3]))
    torch.testing.assert_close(found, as_seen(as_image(x0).clamp(-1, 1)), rtol=0, atol=1e-5)
