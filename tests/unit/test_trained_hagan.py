"""HA-GAN trained here: its networks, its losses, how it learns, resumes, is judged and samples."""

import csv
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.unit.stage_b import cohort, die_at_step
from wfdm.baselines import hagan_folder, hagan_here
from wfdm.baselines.hagan_discriminators import Discriminator
from wfdm.baselines.hagan_folder import Networks, in_cube, one_hot, out_of_cube, slab_of, small_of
from wfdm.baselines.hagan_networks import Encoder, Generator, SubEncoder
from wfdm.baselines.hagan_training import Files, Hagan, Task, energy_score, train_hagan
from wfdm.config.gans import GanTraining, HaganNetwork
from wfdm.config.generators import TrainedGanSettings
from wfdm.config.study import Study, merged
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES, columns, read_table, write_table
from wfdm.data.volumes import model_affine
from wfdm.errors import UserError
from wfdm.generators import Request
from wfdm.generators.order import default_name
from wfdm.provenance.digests import sha256_of
from wfdm.provenance.records import record_path
from wfdm.seeds import torch_generator
from wfdm.stages import benchmark, plan, rows, sample, sample_test, train_gan
from wfdm.tables.systems import described
from wfdm.training.plan import Job

CONFIG = Path(__file__).parents[2] / "config"
VOLUME = VolumeSettings(shape=(40, 48, 32), percentiles=(0, 100))
SPACING = 2.0
SMALL = HaganNetwork(side=128, latent=8, channels=2)
ROW = TrainedGanSettings(kind="gan", label="HA-GAN (trained here)", gan="tiny")
TRAINING = {"steps": 4, "batch_size": 2, "warmup_steps": 0, "validate_every": 2}
TRAINING |= {"learning_rate": 1e-3, "precision": "32-true", "validation_scans": 1}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A head for every scan of the cohort: a ball, in which each contrast has its bright side."""
    folder = tmp_path_factory.mktemp("volumes")
    scans = cohort()[["scan_id", "modality", "split"]]
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in VOLUME.shape), indexing="ij")
    paths = []
    for number, modality in enumerate(scans["modality"]):
        side = MODALITIES.index(modality)
        slope = axes[side % 3] * (-1 if side == 3 else 1) + 0.02 * number * axes[2]
        ball = (sum(axis**2 for axis in axes) < 0.8) * (1.5 + slope)
        path = folder / f"{number}.nii.gz"
        nib.save(nib.Nifti1Image(ball.astype(np.float32), model_affine(ball.shape, SPACING)), path)
        paths.append(path)
    digests = [sha256_of(path) for path in paths]
    return scans.assign(path=[str(path) for path in paths], sha256=digests)


def task(**training: Any) -> Task:
    given = GanTraining.model_validate(TRAINING | training)
    return Task("tiny", 7, SMALL, given, VOLUME, SPACING)


def train(volumes: pd.DataFrame, out: Path, start: Path | None = None, **training: Any) -> Path:
    train_hagan(task(**training), volumes, Files(), Job(out, "identity", start))
    return out


def history(out: Path) -> list[dict[str, float]]:
    with open(out / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


# --- networks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "sub_encoder", "discriminator"),
    [(128, 19_663_168, 7_241_442), (256, 19_663_264, 7_402_258)],
)
def test_at_the_published_size_they_have_the_published_parameters(
    side: int, sub_encoder: int, discriminator: int
) -> None:
    with torch.device("meta"):
        assert parameters(Generator(side)) == 52_518_210
        assert parameters(Encoder()) == 161_152
        assert parameters(SubEncoder(side)) == sub_encoder
        assert parameters(Discriminator(side)) == discriminator
        made = Networks(HaganNetwork(side=side))
        told = Discriminator(side, classes=len(MODALITIES))
    # A modality is four more numbers beside the noise; and a projection of it for both logits.
    assert parameters(made) == 52_518_210 + 4 * 32_768 + 161_152 + sub_encoder
    assert parameters(told) == discriminator + 4 * (64 + 256)


def spectral_norms(network: nn.Module) -> list[float]:
    weights = [part.weight for part in network.modules() if hasattr(part, "parametrizations")]
    return [float(torch.linalg.matrix_norm(weight.flatten(1), 2)) for weight in weights]


def test_every_layer_of_the_discriminators_has_norm_one() -> None:
    torch.manual_seed(0)
    network = Discriminator(128, 32, classes=4)
    for part in network.modules():
        if hasattr(part, "parametrizations"):
            for _ in range(30):  # the power iteration makes a step each time
                _ = part.weight
    with torch.no_grad():
        found = spectral_norms(network.eval())
    assert len(found) == 6 + 2 + 1 + 3 + 1 + 1
    np.testing.assert_allclose(found, 1, atol=0.03)


def test_the_logit_hears_slab_small_place_and_class() -> None:
    torch.manual_seed(0)
    network = Discriminator(128, 32, classes=4).eval()
    slab, small = torch.randn(1, 1, 16, 128, 128), torch.randn(1, 1, 32, 32, 32)
    told = torch.eye(4)
    with torch.no_grad():
        one = network(slab, small, 0.25, told[:1])
        others = [
            network(-slab, small, 0.25, told[:1]),
            network(slab, -small, 0.25, told[:1]),
            network(slab, small, 0.5, told[:1]),
            network(slab, small, 0.25, told[1:2]),
        ]
    assert one.shape == (1,)
    assert all(abs(float(other - one)) > 1e-6 for other in others)


def test_a_class_adds_the_product_with_its_own_vector() -> None:
    """Of two classes only the projection differs: linear in the features, per class."""
    torch.manual_seed(0)
    network = Discriminator(128, 32, classes=4).eval()
    given = torch.randn(1, 1, 16, 128, 128), torch.randn(1, 1, 32, 32, 32), 0.5
    with torch.no_grad():
        each = torch.stack([network(*given, torch.eye(4)[k : k + 1]) for k in range(4)])[:, 0]
        none = network(*given, torch.zeros(1, 4))
        both = network(*given, torch.tensor([[1.0, 0, 1, 0]]))
    torch.testing.assert_close(both[0], none[0] + (each[0] - none[0]) + (each[2] - none[0]))


# --- the cube, the slab, the small volume ----------------------------------------------------


@given(st.tuples(*[st.integers(1, 9)] * 3))
def test_a_volume_comes_out_of_its_cube_as_it_went_in(shape: tuple[int, int, int]) -> None:
    volume = torch.rand((2, 1, *shape), generator=torch_generator(1))
    cube = in_cube(volume, 9)
    assert cube.shape == (2, 1, 9, 9, 9)
    torch.testing.assert_close(out_of_cube(cube, shape), volume, rtol=0, atol=1e-6)
    assert int((cube == -1).sum()) >= 2 * (9**3 - volume[0].numel())
    corner = [(9 - size) // 2 for size in shape]
    torch.testing.assert_close(cube[0, 0, *corner], 2 * volume[0, 0, 0, 0, 0] - 1)


def test_slab_and_small_volume_are_of_the_same_voxels() -> None:
    cube = torch.arange(128.0)[:, None, None].expand(1, 1, 128, 128, 128)
    assert slab_of(cube, 40)[0, 0, :, 0, 0].tolist() == list(range(40, 56))
    assert small_of(cube)[0, 0, :, 5, 7].tolist() == [4 * k + 1.5 for k in range(32)]
    assert slab_of(cube, 112).shape[2] == 16  # the last


def test_the_slab_that_is_made_lies_where_the_real_one_does() -> None:
    """Without normalisation, away from its border, it is the same slices of the whole."""
    torch.manual_seed(0)
    network = Generator(128, 4, 2).eval()
    for number in range(1, 7):
        setattr(network, f"bn{number}", nn.Identity())
    z = torch.randn(1, 4)
    with torch.no_grad():
        slab, _ = network.slab(z, 40)
        whole = network(z)
    inner = [each[:, :, 4:-4] for each in (slab, slab_of(whole, 40), slab_of(whole, 44))]
    torch.testing.assert_close(inner[0], inner[1], rtol=1e-3, atol=1e-4)
    assert float((inner[0] - inner[2]).abs().max()) > 1e-3


def test_the_codes_encoder_keeps_no_full_size_gradient() -> None:
    networks = Networks(SMALL)
    networks.code(torch.rand(1, 1, 128, 128, 128)).sum().backward()
    assert all(weight.grad is None for weight in networks.encoder.parameters())
    assert all(weight.grad is not None for weight in networks.sub_encoder.parameters())


# --- losses ---------------------------------------------------------------------------------


class Noted:
    """Stands for a run: calls the bare modules, and notes what is minimised and its gradients."""

    def __init__(self, objective: Hagan) -> None:
        self.modules, self.step = dict(objective.modules), 0
        self.fabric = SimpleNamespace(autocast=torch.enable_grad)
        self.losses: dict[str, Tensor] = {}
        self.touched: dict[str, set[str]] = {}

    def update(self, name: str, loss: Tensor, clip: float) -> bool:
        self.losses[name] = loss.detach()
        for module in self.modules.values():
            module.zero_grad()
        loss.backward()
        self.touched[name] = {
            key
            for key, module in self.modules.items()
            if any(weight.grad is not None for weight in module.parameters())
        }
        return False


def batch_of(objective: Hagan, size: int = 2) -> dict[str, Tensor]:
    items = [objective.data.draw(np.random.default_rng(number)) for number in range(size)]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def test_each_network_is_moved_by_its_own_loss_alone(volumes: pd.DataFrame, tmp_path: Path) -> None:
    objective = Hagan(task(), volumes, Files())
    run = Noted(objective)
    terms = objective.step(run, batch_of(objective), torch_generator(3))  # type: ignore[arg-type]
    assert run.touched == {"model": {"model"}, "discriminator": {"discriminator"}}
    assert list(terms) == [
        *("adversarial", "reconstruction_slab", "reconstruction", "discriminator")
    ]
    rebuilt = terms["reconstruction_slab"] + terms["reconstruction"]
    torch.testing.assert_close(run.losses["model"], (terms["adversarial"] + 5 * rebuilt).detach())
    torch.testing.assert_close(run.losses["discriminator"], terms["discriminator"].detach())


def test_reconstructions_move_the_encoders_alone(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """Eight times their weight: eight times the encoders' gradients, the generator's the same."""
    found = []
    for weight in (1.0, 8.0):
        objective = Hagan(task(reconstruction_weight=weight), volumes, Files())
        moved: dict[str, Tensor] = {}

        def update(
            name: str, loss: Tensor, clip: float, networks=objective.modules["model"], moved=moved
        ) -> bool:
            if name == "model":
                loss.backward()
                moved |= {key: w.grad.clone() for key, w in networks.named_parameters()}
            return False

        run = Noted(objective)
        run.update = update  # type: ignore[method-assign]
        objective.step(run, batch_of(objective), torch_generator(3))  # type: ignore[arg-type]
        found.append(moved)
    for key, little in found[0].items():
        times = 1 if key.startswith("generator.") else 8
        assert little.any(), key
        assert torch.equal(found[1][key], times * little), key


def test_losses_are_the_papers(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """Computed again from the networks themselves, with logarithms and means written out."""
    objective = Hagan(task(), volumes, Files())
    for module in objective.modules.values():
        module.eval()  # so that no pass moves the discriminators' power iteration
    batch, rng = batch_of(objective), torch_generator(3)
    terms = objective.step(Noted(objective), batch, rng)  # type: ignore[arg-type]

    rng = torch_generator(3)
    noise = torch.randn((2, 8), generator=rng)
    first = 4 * int(torch.randint(29, (), generator=rng))
    networks, judge = objective.modules["model"], objective.modules["discriminator"]
    cube, told = in_cube(batch["volume"], 128), one_hot(batch["modality"])
    with torch.no_grad():
        slab, small = networks.generator.slab(torch.cat([noise, told], 1), first)
        real, real_small = cube[:, :, first : first + 16], F.avg_pool3d(cube, 4)
        fake = torch.sigmoid(judge(slab, small, first / 128, told))
        true = torch.sigmoid(judge(real, real_small, first / 128, told))
        near = networks.generator.full(networks.encoder(real))
        parts = [networks.encoder(cube[:, :, k : k + 16]) for k in range(0, 128, 16)]
        code = torch.cat([networks.sub_encoder(torch.cat(parts, 2)), told], 1)
        again, small_again = networks.generator.slab(code, first)
    expected = {
        "adversarial": -fake.log().mean(),
        "reconstruction_slab": (near - real).abs().mean(),
        "reconstruction": (again - real).abs().mean() + (small_again - real_small).abs().mean(),
        "discriminator": -(true.log().mean() + (1 - fake).log().mean()),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].detach(), value, rtol=1e-4, atol=1e-5)


def test_rare_modalities_are_drawn_as_often_as_told(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """Six training scans: two of T1w and T2w, one of each other."""
    objective = Hagan(task(balance=1.0), volumes, Files())
    objective.data.volumes = [np.zeros((1, 1, 1, 1), np.float16)] * 6  # type: ignore[assignment]
    rng = np.random.default_rng(0)
    drawn = [int(objective.data.draw(rng)["modality"]) for _ in range(2000)]
    np.testing.assert_allclose(np.bincount(drawn) / 2000, [0.25] * 4, atol=0.03)


# --- the score that is judged by --------------------------------------------------------------


@given(st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_the_energy_score_is_distances_less_half_the_spread(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples, real = rng.random((count, 1, 3, 2, 2)), rng.random((1, 1, 3, 2, 2))

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).mean()))

    away = np.mean([distance(each, real[0]) for each in samples])
    spread = np.mean([distance(a, b) for a, b in combinations(samples, 2)])
    found = energy_score(torch.from_numpy(samples), torch.from_numpy(real))
    np.testing.assert_allclose([float(each) for each in found], [away - spread / 2, spread])


def test_the_true_distribution_scores_best() -> None:
    """Better than its mean alone, than a shifted one, than one too narrow or too wide."""
    rng = torch_generator(0)

    def score(mean: float, width: float) -> float:
        trials = [
            energy_score(
                mean + width * torch.randn((2, 1, 2, 1, 1), generator=rng),
                torch.randn((1, 1, 2, 1, 1), generator=rng),
            )[0]
            for _ in range(1500)
        ]
        return float(torch.stack(trials).mean())

    true = score(0, 1)
    assert all(true < score(*other) for other in ((0, 0), (1, 1), (0, 0.3), (0, 3)))


# --- training -------------------------------------------------------------------------------


def test_it_learns(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """In so few steps encoders and discriminators: samples' score, `val_loss`, takes far more."""
    made = train(volumes, tmp_path, steps=24, validate_every=8, learning_rate=1e-2, ema_decay=0.5)
    first, *_, last = history(made)
    for name in ("reconstruction_slab", "reconstruction", "val_reconstruction", "discriminator"):
        assert last[name] < 0.9 * first[name], name
    columns = "step adversarial reconstruction_slab reconstruction discriminator val_loss"
    assert list(first)[:6] == columns.split()
    assert {"val_other_modality", "val_spread", "skipped_discriminator"} <= set(first)


def test_a_cut_off_training_ends_as_an_undisturbed_one(
    volumes: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(volumes, tmp_path / "whole")
    calls = die_at_step(monkeypatch, 4, Hagan)
    with pytest.raises(KeyboardInterrupt):
        train(volumes, tmp_path / "cut")
    resumed = train(volumes, tmp_path / "cut")
    assert len(calls) == 4 + 2  # steps 1 and 2 were kept
    for file in ("model.safetensors", "history.csv", "config.json", "last/state.safetensors"):
        assert (resumed / file).read_bytes() == (whole / file).read_bytes(), file


def test_another_seed_or_name_trains_another(volumes: pd.DataFrame, tmp_path: Path) -> None:
    made = []
    for number, changes in enumerate(({}, {"seed": 8}, {"name": "other"})):
        out = tmp_path / str(number)
        train_hagan(replace(task(steps=1), **changes), volumes, Files(), Job(out, "identity"))
        made.append((out / "model.safetensors").read_bytes())
    assert len(set(made)) == 3


def test_it_begins_with_the_weights_of_another(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """A folder's weights are the average, and go into what is trained too."""
    first = train(volumes, tmp_path / "first", steps=1)
    given = first / "model.safetensors"
    second = train(volumes, tmp_path / "second", given, steps=1, learning_rate=1e-12)
    one, other = (hagan_folder.load(each)[0].state_dict() for each in (first, second))
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=0, atol=1e-8)


def test_mixed_precision_learns_about_the_same(volumes: pd.DataFrame, tmp_path: Path) -> None:
    full, mixed = (
        history(train(volumes, tmp_path / kind, steps=2, precision=kind))[0]
        for kind in ("32-true", "bf16-mixed")
    )
    for name in ("adversarial", "reconstruction_slab", "reconstruction", "discriminator"):
        assert mixed[name] == pytest.approx(full[name], rel=0.05), name
    assert mixed != full


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_told(split: str, volumes: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no scan is in the {split} split"):
        train(volumes[volumes["split"] != split], tmp_path)
    assert not list(tmp_path.iterdir())


# --- sampling -------------------------------------------------------------------------------

REQUESTS = [Request("a", "T1w", {"age": "30"}), Request("b", "FLAIR"), Request("a", "T1Gd")]


@pytest.fixture(scope="module")
def trained(volumes: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(volumes, tmp_path_factory.mktemp("gans") / "tiny", steps=2)


def test_it_samples_behind_the_protocol(trained: Path) -> None:
    """Every modality, on the study's shape and range; alone or beside others the same bits."""
    generator = hagan_here.of_row("row", ROW, trained / "model.safetensors")
    together = list(generator.sample(REQUESTS, 3))
    for request, made in zip(REQUESTS, together, strict=True):
        assert made.volume.shape == VOLUME.shape and made.volume.dtype == np.float32
        assert 0 <= made.volume.min() < made.volume.max() <= 1
        np.testing.assert_array_equal(made.affine, model_affine(VOLUME.shape, SPACING))
        (alone,) = generator.sample([request], 3)
        assert np.array_equal(alone.volume, made.volume)
    (other,) = generator.sample(REQUESTS[:1], 4)
    assert not np.array_equal(other.volume, together[0].volume)
    told = generator.made_by(REQUESTS[0], 3)
    assert told["Gan"] == "tiny" and told["Seed"] == 3
    assert told["ModelSHA256"] == {"gan": sha256_of(trained / "model.safetensors")}


def test_wfdm_sample_asks_it(trained: Path, tmp_path: Path) -> None:
    """What the generator makes, under its own name; options that it would ignore are refused."""
    sample.run(trained, modality="FLAIR", n=2, out=tmp_path)
    generator = hagan_here.load(trained)
    made = generator.sample([Request(default_name(n), "FLAIR") for n in (1, 2)], 42)
    for path, expected in zip(sorted(tmp_path.glob("*.nii.gz")), made, strict=True):
        np.testing.assert_array_equal(nib.load(path).get_fdata(dtype=np.float32), expected.volume)
        told = json.loads(record_path(path).read_text())["inputs"]
        assert {Path(name).name for name in told} == {"config.json", "model.safetensors"}
    for asked, said in (
        ({"steps": 5}, "one pass; leave out steps"),
        ({"age": 30.0}, "synthetic0001: .* told the modality alone; leave out age"),
        ({"modality": "PD"}, "unknown modality"),
    ):
        with pytest.raises(UserError, match=said):
            sample.run(**{"checkpoint": trained, "modality": "T1w", "out": tmp_path / "no"} | asked)
    assert not (tmp_path / "no").exists()


def test_it_hears_the_modality(trained: Path) -> None:
    """One name, so one noise: what differs between its volumes is the modality's."""
    generator = hagan_here.of_row("row", ROW, trained / "model.safetensors")
    requests = [Request("a", modality) for modality in MODALITIES]
    made = [sample.volume for sample in generator.sample(requests, 3)]
    for one, other in combinations(made, 2):
        assert np.abs(one - other).mean() > 1e-3 * one.std()


def test_a_modality_that_it_never_saw_is_refused(volumes: pd.DataFrame, tmp_path: Path) -> None:
    few = volumes[volumes["modality"].isin(["T1w", "T2w"]) | (volumes["split"] != "train")]
    out = train(few, tmp_path, steps=1)
    assert json.loads((out / "config.json").read_text())["modalities"] == ["T1w", "T2w"]
    generator = hagan_here.of_row("row", ROW, out / "model.safetensors")
    with pytest.raises(UserError, match="row was not trained on FLAIR; it makes T1w, T2w"):
        list(generator.sample([Request("a", "FLAIR")], 3))


@pytest.mark.parametrize("text", [None, "{}", '{"network": {"side": 3}}'])
def test_a_folder_without_a_gan_is_told(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"train the GAN|does not describe a trained GAN"):
        hagan_folder.load(tmp_path)


# --- the stages -----------------------------------------------------------------------------


def test_its_stages_train_sample_and_time_it(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """As the rules call them, on files: what tables 4 and 6 have of it."""
    scans = cohort()
    tables = [tmp_path / f"{name}.tsv" for name in ("scans", "splits", "volumes")]
    write_table(scans.assign(path="x.nii.gz", state="raw")[list(columns())], tables[0])
    write_table(scans[["scan_id", "person", "split"]].assign(leak=""), tables[1])
    write_table(volumes[["scan_id", "modality", "path", "sha256"]], tables[2])
    grid = {"volume": VOLUME.model_dump(), "spacing": SPACING}
    row = {"generator": "row", "made": {"kind": "gan", "gan": "tiny"}, **grid}

    own = {"gan": "tiny", "network": SMALL.model_dump(), "training": TRAINING | {"steps": 1}}
    settings = train_gan.Settings.parse(json.dumps({"seed": 7, **own, **grid}))
    model = tmp_path / "gans/tiny/model.safetensors"
    train_gan.run(settings, tables[2], tables[1], model, cache=tmp_path / "cache")
    record = json.loads(record_path(model).read_text())
    assert record["stage"] == "train-gan" and record["results"]["steps"] == 1
    assert {Path(path).name for path in record["outputs"]} == {
        *("model.safetensors", "config.json", "history.csv")
    }

    settings = sample_test.Settings.parse(json.dumps({"seed": 7, **row}))
    out = tmp_path / "samples" / "shard-0000-of-0001.tsv"
    sample_test.run(settings, *tables, 0, 1, out, source=model)
    made = read_table(out)
    assert sorted(made["scan_id"]) == sorted(scans.loc[scans["split"] == "test", "scan_id"])
    assert set(made["modality"]) == set(MODALITIES) and set(made["range"]) == {"unit"}

    empty = dict.fromkeys(("network", "process", "architecture"))
    timing = {"timing": {"warm_ups": 1, "repeats": 2, "batches": []}}
    settings = benchmark.Settings.parse(json.dumps(row | empty | timing))
    benchmark.run(settings, tmp_path / "row.json", model)
    told = json.loads((tmp_path / "row.json").read_text())
    assert told["output_size"] == list(VOLUME.shape) and told["steps"] is None


# --- the configuration ----------------------------------------------------------------------


def study(*overlays: str, **more: Any) -> Study:
    """The paper's study under overlays of config/, as Snakemake merges them."""
    whole: dict[str, Any] = yaml.safe_load((CONFIG / "config.yaml").read_text())
    for content in [*(yaml.safe_load((CONFIG / each).read_text()) for each in overlays), more]:
        whole = merged(whole, content)
    return plan.checked(Study.model_validate(whole))


def test_by_default_none_is_trained_and_the_overlay_trains_the_published_size() -> None:
    assert study().gans == {}
    over = study("baselines.yaml")
    assert over.gans["ha-gan-here"].network == HaganNetwork(side=256, latent=1024, channels=32)
    assert "ha-gan-here" in rows.table4(over) and "ha-gan-here" in rows.table6(over)


def test_the_benchmark_trains_it_for_the_denoisers_steps() -> None:
    made = study("demo.yaml", "baselines.yaml", "benchmark.yaml")
    gan, wfdm = made.gans["ha-gan-here"].training, made.denoisers["wfdm"].training
    for key in ("steps", "batch_size", "warmup_steps", "decay_power", "ema_decay", "balance"):
        assert getattr(gan, key) == getattr(wfdm, key), key


def test_table_2_tells_of_it_in_the_papers_words(trained: Path) -> None:
    made = study("baselines.yaml")
    cells = described(made, made.generators["ha-gan-here"], trained / "config.json", "")
    assert cells == {
        "Output modalities": "T1w, T2w, T1Gd, FLAIR",
        "Conditioning": "Modality",
        "Synthesis domain": "Pixel",
        "Scheduler": "N/A (GAN)",
        "Steps": "N/A",
        "Training source": "BrainScape",
    }


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"gans": {"ha-gan-here": {"network": {"side": 128}}}}, "a cube of 128 does not hold"),
        ({"generators": {"ha-gan-here": {"gan": "x"}}}, "gan: there is no 'x'; there is ha-gan"),
        ({"gans": {"a/b": {}}}, "gans: 'a/b' names a folder"),
        ({"gans": {"ha-gan-here": {"network": {"channels": 7}}}}, "multiple of 2"),
        ({"figures": {"generator": "ha-gan-here"}}, "'ha-gan-here' has no denoiser"),
    ],
)
def test_what_cannot_work_is_said(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        study("baselines.yaml", **more)
