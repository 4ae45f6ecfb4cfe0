from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from medmetric.extractors import MedicalNetFeatureExtractor
from monai.losses import PatchAdversarialLoss
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.distributions import Normal, kl_divergence

from wfdm import models
from wfdm.config.codebooks import VectorQuantised
from wfdm.config.compressors import (
    AdversarialSettings,
    CompressorTraining,
    HaarTransform,
    MaisiAutoencoder,
    PerceptualSettings,
    WaveletFusion,
)
from wfdm.config.features import FeatureSettings, LpipsSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data import volumes as volume_files
from wfdm.errors import UserError
from wfdm.models.compressors.base import kl
from wfdm.models.features import lpips, medicalnet
from wfdm.provenance.digests import sha256_of
from wfdm.training import compressor, losses
from wfdm.training import crops as scans
from wfdm.training.plan import Job

STAND_IN = FeatureSettings(depth=10, weights=None, seed=3)
SHAPE = (32, 32, 24)
QUICK = {  # where the terms are not what is tested
    "perceptual": PerceptualSettings(network=None),
    "adversarial": AdversarialSettings(weight=0),
}


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def network():
    return medicalnet.build(STAND_IN, None)[0]


def test_kl_is_torchs_summed_over_the_latent_and_averaged_over_the_batch():
    mean, std = rand(3, 4, 2, 2, 2) - 0.5, rand(3, 4, 2, 2, 2, seed=1) + 0.1
    unit = Normal(torch.zeros_like(mean), torch.ones_like(std))
    expected = kl_divergence(Normal(mean, std), unit).flatten(1).sum(1).mean()
    torch.testing.assert_close(kl(mean, std), expected)


def test_adversarial_terms_are_the_papers_binary_cross_entropies():
    real, fake = 8 * rand(2, 1, 3, 3, 3) - 4, 8 * rand(2, 1, 3, 3, 3, seed=1) - 4
    bce = PatchAdversarialLoss(criterion="bce", reduction="mean")
    wanted = 0.5 * (
        bce(real, target_is_real=True, for_discriminator=True)
        + bce(fake, target_is_real=False, for_discriminator=True)
    )
    torch.testing.assert_close(losses.adversarial_discriminator(real, fake), wanted)
    wanted = bce(fake, target_is_real=True, for_discriminator=False)
    torch.testing.assert_close(losses.adversarial_generator(fake), wanted)
    assert torch.isfinite(losses.adversarial_generator(torch.tensor([-1e4, 1e4])))


def test_the_perceptual_loss_is_a_distance_that_sees_brightness_and_blur(network):
    perceptual, real = losses.Perceptual(network), rand(1, 1, *SHAPE)
    blurred = torch.nn.functional.avg_pool3d(real, 3, 1, 1)
    assert perceptual(real, real).item() == 0
    slight, strong = (perceptual(real, real + share * (blurred - real)) for share in (0.2, 1.0))
    assert 0 < slight < strong
    assert perceptual(real, 0.8 * real) > 0.05
    other = real.clone().requires_grad_()
    perceptual(real, other + 0.01).backward()
    assert other.grad.abs().sum() > 0
    assert torch.isfinite(perceptual(torch.zeros_like(real), real))


def test_the_stand_in_is_drawn_from_its_seed_alone(network):
    torch.manual_seed(9)
    before = torch.get_rng_state()
    again, name, digest = medicalnet.build(STAND_IN, None)
    assert torch.equal(torch.get_rng_state(), before)
    assert name == "medicalnet-resnet10-random-seed3"
    assert digest == medicalnet.digest(network.backbone)
    other = medicalnet.build(STAND_IN.model_copy(update={"seed": 4}), None)
    assert other[2] != digest
    assert not again.train().backbone.bn1.training
    assert not any(p.requires_grad for p in again.parameters())


def test_real_weights_are_medmetrics(network, tmp_path):
    file, x = tmp_path / "resnet_10.pth", rand(2, 1, *SHAPE)
    state = {f"module.{name}": value for name, value in network.backbone.state_dict().items()}
    torch.save({"state_dict": state}, file)
    settings = FeatureSettings(depth=10, weights="medicalnet-resnet10")
    loaded, name, digest = medicalnet.build(settings, file)
    assert name == "medicalnet-resnet10"
    assert digest == medicalnet.digest(network.backbone)
    oracle = MedicalNetFeatureExtractor.from_pretrained(depth=10, weights_path=str(file))
    torch.testing.assert_close(loaded.pooled(x), oracle(x))
    with pytest.raises(UserError, match="does not hold a MedicalNet ResNet-18"):
        medicalnet.build(settings.model_copy(update={"depth": 18}), file)
    with pytest.raises(UserError, match="settings name the weights"):
        medicalnet.build(settings, None)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Six small smooth volumes on disk: four to train on, one each to validate and test."""
    folder, rows = tmp_path_factory.mktemp("cohort"), []
    for index, split in enumerate(["train"] * 4 + ["validation", "test"]):
        coarse = rand(1, 1, 4, 4, 3, seed=index)
        smooth = torch.nn.functional.interpolate(coarse, SHAPE, mode="trilinear")[0, 0]
        path = folder / f"{index}.nii.gz"
        nib.save(nib.Nifti1Image(smooth.numpy(), np.diag([2, 2, 2, 1.0])), path)
        row = {"scan_id": f"s{index}", "modality": "T1w", "path": str(path), "split": split}
        rows.append(row | {"sha256": sha256_of(path)})
    return pd.DataFrame(rows)


def stage(**changes) -> compressor.Task:
    training = CompressorTraining(
        steps=10,
        crop=(16, 16, 16),
        learning_rate=5e-3,
        warmup_steps=2,
        perceptual=PerceptualSettings(network=STAND_IN, warmup_steps=5),
        adversarial=AdversarialSettings(channels=4, layers=1, warmup_steps=5),
        precision="32-true",
        validate_every=5,
        validation_scans=1,
    )
    architecture = WaveletFusion(
        kind="wavelet-fusion", channels=(8, 8), wavelet_channels=8, norm_groups=4
    )
    return compressor.Task(
        seed=1,
        name="tiny",
        volume=VolumeSettings(shape=SHAPE),
        architecture=changes.pop("architecture", architecture),
        training=training.model_copy(update=changes) if changes.pop("train", True) else None,
    )


def run(stage_, cohort, out, cache_mb=100):
    files = compressor.Files(cache=out / "cache", cache_mb=cache_mb)
    compressor.train_compressor(stage_, cohort, files, Job(out, "identity"))
    return pd.read_csv(out / "history.csv")


def test_a_compressor_learns_with_every_term(cohort, tmp_path):
    history = run(stage(), cohort, tmp_path)
    assert list(history) == [
        *("step", "reconstruction", "kl", "perceptual", "adversarial", "discriminator"),
        *("val_loss", "skipped_model", "skipped_discriminator"),
    ]
    assert history["val_loss"].iloc[-1] < history["val_loss"].iloc[0]
    for name in ("perceptual", "adversarial", "discriminator"):  # off during their warm-up
        assert history[name].iloc[0] == 0 < history[name].iloc[1]


def test_a_trained_compressor_reconstructs_an_unseen_volume(cohort, tmp_path):
    whole = stage(steps=80, validate_every=40, crop=SHAPE, learning_rate=1e-2, **QUICK)
    history = run(whole, cohort, tmp_path)
    model, settings = models.load(tmp_path), VolumeSettings(shape=SHAPE)
    x = torch.from_numpy(volume_files.load_standardised(cohort["path"][4], settings))[None]
    with torch.no_grad():
        error = (model.decode(model.encode(x)[0]) - x).abs().mean()
    assert error.item() == pytest.approx(history["val_loss"].min(), rel=0.01)
    assert error < 0.7 * (x - x.mean()).abs().mean()


def test_the_cache_does_not_change_the_weights(cohort, tmp_path):
    run(stage(steps=3), cohort, tmp_path / "cached")
    run(stage(steps=3), cohort, tmp_path / "uncached", cache_mb=0)
    first, second = (load_file(tmp_path / n / "model.safetensors") for n in ("cached", "uncached"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_average_is_judged_and_kept_where_asked_for(cohort, tmp_path):
    run(stage(steps=4, validate_every=2, **QUICK), cohort, tmp_path / "plain")
    run(stage(steps=4, validate_every=2, ema_decay=0.5, **QUICK), cohort, tmp_path / "average")
    plain, average = (
        load_file(tmp_path / n / "last" / "state.safetensors") for n in ("plain", "average")
    )
    names = [name for name in plain if name.startswith("module/model/")]
    assert all(torch.equal(plain[name], average[name]) for name in names)
    kept = load_file(tmp_path / "average" / "last" / "model.safetensors")
    for name, value in kept.items():
        assert torch.equal(value, average[f"module/ema/{name}"])
    assert any(
        not torch.equal(value, average[f"module/model/{name}"]) for name, value in kept.items()
    )
    assert isinstance(models.load(tmp_path / "average" / "last"), models.Compressor)


def test_a_training_cut_off_at_any_step_ends_in_the_same_weights(cohort, tmp_path, monkeypatch):
    codebook = VectorQuantised(kind="vq-vae", channels=(8, 8), codes=16)
    adversarial = AdversarialSettings(channels=4, layers=1, warmup_steps=1)
    settings = stage(
        architecture=codebook,
        steps=6,
        validate_every=2,
        ema_decay=0.5,
        **QUICK | {"adversarial": adversarial},
    )
    run(settings, cohort, tmp_path / "whole")
    step = compressor.StageA.step

    def cut_off(self, running, batch, generator):
        if running.step == 5:
            raise KeyboardInterrupt
        return step(self, running, batch, generator)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(compressor.StageA, "step", cut_off)
        run(settings, cohort, tmp_path / "parts")
    run(settings, cohort, tmp_path / "parts")
    for name in ("model.safetensors", "last/model.safetensors", "last/state.safetensors"):
        whole, parts = (tmp_path / folder / name for folder in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name


def test_the_history_is_shown_in_tensorboard_too(cohort, tmp_path):
    history = run(stage(steps=4, validate_every=2, **QUICK), cohort, tmp_path)
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(shown.Tags()["scalars"]) == set(history) - {"step"}
    events = shown.Scalars("val_loss")
    assert [event.step for event in events] == history["step"].tolist() == [2, 4]
    assert [event.value for event in events] == pytest.approx(history["val_loss"].tolist())


def test_speed_and_memory_are_told(cohort, tmp_path):
    files = compressor.Files()
    told = compressor.train_compressor(
        stage(steps=3, **QUICK), cohort, files, Job(tmp_path, "identity")
    )
    assert told["steps"] == 3
    assert told["items_per_second"] == pytest.approx(2 / told["seconds_per_step"])
    assert 50 < told["peak_memory_mb"] < 50_000
    again = compressor.train_compressor(
        stage(steps=3, **QUICK), cohort, files, Job(tmp_path, "identity")
    )
    assert again["steps"] == 0


def test_checkpointing_changes_nothing_in_half_precision_either(cohort, tmp_path):
    half = {"steps": 3, "precision": "bf16-mixed"}
    plain = run(stage(**half), cohort, tmp_path / "plain")
    frugal = run(stage(**half, checkpointing=True), cohort, tmp_path / "frugal")
    assert plain.equals(frugal)


@pytest.mark.parametrize(
    "architecture",
    [
        VectorQuantised(kind="vq-vae", channels=(8, 8), codes=16),
        MaisiAutoencoder(kind="maisi", channels=(8, 8), norm_groups=4),
    ],
)
def test_other_architectures_train_by_the_same_objective(architecture, cohort, tmp_path):
    history = run(stage(architecture=architecture, steps=4, validate_every=2), cohort, tmp_path)
    term = "commitment" if architecture.kind == "vq-vae" else "kl"
    assert list(history)[:3] == ["step", "reconstruction", term]
    assert models.load(tmp_path).settings == architecture


def test_lpips_is_a_perceptual_term_too(cohort, tmp_path):
    torch.manual_seed(0)
    net = lpips.Lpips("alex")
    backbone = {f"features.{key}": value for key, value in net.features.state_dict().items()}
    torch.save(backbone, tmp_path / "backbone.pth")
    heads = {f"lin{i}.model.1.weight": torch.rand(1, len(h), 1, 1) for i, h in enumerate(net.heads)}
    torch.save(heads, tmp_path / "heads.pth")
    settings = PerceptualSettings(network=None, lpips=LpipsSettings(every=4))
    files = compressor.Files([tmp_path / "backbone.pth", tmp_path / "heads.pth"])
    cube = VolumeSettings(shape=(32, 32, 32))
    big = stage(steps=2, validate_every=1, crop=cube.shape, perceptual=settings)
    big = replace(big, volume=cube)
    compressor.train_compressor(big, cohort, files, Job(tmp_path, "identity"))
    history = pd.read_csv(tmp_path / "history.csv")
    assert (history["perceptual"] > 0).all()


def test_a_fixed_compressor_is_only_measured(cohort, tmp_path):
    fixed = stage(architecture=HaarTransform(kind="haar", levels=2), train=False)
    history = run(fixed, cohort, tmp_path)
    assert history["val_loss"].tolist() == pytest.approx([0], abs=1e-6)
    assert isinstance(models.load(tmp_path), models.Compressor)
    rounded = stage(architecture=HaarTransform(kind="haar", levels=2, haar="rounded"), train=False)
    assert run(rounded, cohort, tmp_path)["val_loss"][0] > 1e-5


def test_published_weights_are_measured_and_kept(cohort, tmp_path):
    architecture = MaisiAutoencoder(kind="maisi", channels=(8, 8), norm_groups=4)
    weights = models.build(architecture).net.state_dict()
    torch.save(weights, tmp_path / "maisi.pt")
    files = compressor.Files(pretrained=tmp_path / "maisi.pt")
    fixed = stage(architecture=architecture, train=False)
    assert compressor.train_compressor(fixed, cohort, files, Job(tmp_path, "identity")) == {}
    kept = models.load(tmp_path).net.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in weights.items())
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1


class Numbered:
    """One volume in which every voxel holds its own index."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> np.ndarray:
        return np.arange(np.prod(SHAPE), dtype=np.float32).reshape(1, *SHAPE)


def test_crops_come_from_everywhere():
    corners = set()
    for seed in range(200):
        crop = scans.Crops(Numbered(), (16, 16, 16)).draw(np.random.default_rng(seed))["volume"]
        corner = np.unravel_index(int(crop.min()), SHAPE)
        whole = torch.from_numpy(Numbered()[0])
        where = [slice(first, first + 16) for first in corner]
        assert torch.equal(crop, whole[:, *where])
        corners.add(tuple(map(int, corner)))
    for axis, room in enumerate(np.subtract(SHAPE, 16)):
        assert {0, room} <= {corner[axis] for corner in corners}


def test_what_cannot_be_trained_is_refused(cohort, tmp_path):
    with pytest.raises(UserError, match=r"training\.crop \(64, 64, 64\) must fit"):
        run(stage(crop=(64, 64, 64)), cohort, tmp_path)
    with pytest.raises(UserError, match="no scan is in the validation split"):
        run(stage(), cohort[cohort["split"] == "train"], tmp_path)
    assert not any(tmp_path.iterdir())
