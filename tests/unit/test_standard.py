"""What a denoiser sees of latents, against NumPy on all of them at once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.unit.stage_b import LATENT, STATISTICS, cohort, encode_all, train
from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.latents.cache import Latents
from wfdm.latents.moments import Moments
from wfdm.latents.standard import FILE, FLOOR, Standard
from wfdm.training.conditioned import Conditioned

KINDS = ("scale", "per-channel", "centred", "standardised")


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode_all(tmp_path_factory.mktemp("standard"), cohort())


@pytest.fixture(scope="module")
def training(latents: Path) -> tuple[np.ndarray, np.ndarray]:
    """All scaled training latents (n, C, d, h, w), and the number of each one's modality."""
    cache, scans = Latents(latents), cohort()
    fit = scans[scans["split"] == "train"]
    z = np.stack([cache.scaled_mean(name) for name in fit["scan_id"]]).astype(np.float64)
    return z, np.array([MODALITIES.index(name) for name in fit["modality"]])


def standard(kind: str, latents: Path) -> Standard:
    return Standard.of(kind, Moments.read(latents), Latents(latents).space.scale)


def expected(kind: str, z: np.ndarray, modality: np.ndarray) -> np.ndarray:
    """What is seen of every training latent."""
    if kind == "scale":
        return z
    if kind == "per-channel":
        axes = (0, 2, 3, 4)
        return (z - z.mean(axes, keepdims=True)) / z.std(axes, keepdims=True)
    means = np.stack([z[modality == number].mean(0) for number in modality])
    rest = z - means
    if kind == "centred":
        return rest / rest.std()
    variance = (rest**2).mean(0)
    return rest / np.sqrt(variance + FLOOR**2 * variance.mean())


@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_moved_and_divided_and_come_back(kind, latents, training):
    z, modality = torch.from_numpy(training[0]), torch.from_numpy(training[1])
    seen = standard(kind, latents).seen(z, modality)
    np.testing.assert_allclose(seen, expected(kind, *training), atol=2e-4)
    np.testing.assert_allclose(standard(kind, latents).scaled(seen, modality), z, atol=1e-5)


def test_shards_leave_no_trace_in_the_moments(latents, tmp_path):
    one = encode_all(tmp_path, cohort(), shards=1)
    assert (one / "moments.safetensors").read_bytes() == (
        latents / "moments.safetensors"
    ).read_bytes()


def test_floors_are_the_errors_of_the_constant_means(latents, tmp_path):
    """The history's x0_modality_mean and x0_overall_mean, computed once more."""
    folder = train(latents, tmp_path, steps=2, validate_every=2)
    row = pd.read_csv(folder / "history.csv").iloc[-1]
    cache, scans = Latents(latents), cohort()
    z = {name: cache.scaled_mean(name).astype(np.float64) for name in scans["scan_id"]}
    fit, judged = (scans[scans["split"] == split] for split in ("train", "validation"))
    overall = np.mean([z[name] for name in fit["scan_id"]], axis=0)
    means = {
        modality: np.mean([z[name] for name in rows["scan_id"]], axis=0)
        for modality, rows in fit.groupby("modality")
    }
    of_overall = np.mean([((z[name] - overall) ** 2).mean() for name in judged["scan_id"]])
    of_modality = np.mean(
        [
            ((z[name] - means[modality]) ** 2).mean()
            for name, modality in zip(judged["scan_id"], judged["modality"], strict=True)
        ]
    )
    assert row["x0_overall_mean"] == pytest.approx(of_overall, rel=1e-5)
    assert row["x0_modality_mean"] == pytest.approx(of_modality, rel=1e-5)
    own = [f"val_loss_{name}" for name in judged["modality"]]
    assert row["val_loss"] == pytest.approx(row[own].mean(), rel=1e-5)  # one scan of each


@pytest.mark.parametrize("kind", ["centred", "standardised"])
def test_a_fresh_network_predicts_the_modality_mean(kind, latents, tmp_path):
    """At t = 1, where nothing is left of the latent, its best linear answer is nothing."""
    task = {"steps": 1, "learning_rate": 1e-9, "validate_every": 1}
    row = pd.read_csv(train(latents, tmp_path, latents=kind, **task) / "history.csv").iloc[-1]
    assert row["x0_1"] == pytest.approx(row["x0_modality_mean"], rel=1e-4)
    assert row["x0_0.2"] < row["x0_0.8"]


class OneLatent:
    """A cache of one latent, of known mean and deviation."""

    def __contains__(self, scan_id: str) -> bool:
        return True

    def scaled(self, scan_id: str) -> np.ndarray:
        return np.stack([np.full((2, 3, 3, 3), 5.0), np.full((2, 3, 3, 3), 0.5)]).astype("f4")


def test_a_posterior_is_sampled_where_that_is_asked():
    held = Conditioned.of(OneLatent(), cohort().head(1), STATISTICS)  # type: ignore[arg-type]
    drawn = np.stack([held.item(0, np.random.default_rng(n))["z"].numpy() for n in range(400)])
    assert drawn.mean() == pytest.approx(5, abs=5 * 0.5 / drawn.size**0.5)
    assert drawn.std() == pytest.approx(0.5, rel=0.02)
    assert (held.item(0)["z"] == 5).all()


def test_a_folder_without_its_standard_is_told(latents, tmp_path):
    folder = train(latents, tmp_path, steps=1)
    (folder / FILE).write_bytes(b"no tensors")
    with pytest.raises(UserError, match="cut short or damaged"):
        Standard.read(folder)
    (folder / FILE).unlink()
    with pytest.raises(UserError, match="is missing"):
        Standard.read(folder)


def test_latents_that_are_all_alike_have_no_deviation():
    alike = Moments(np.ones(4), np.ones((4, *LATENT)), np.zeros(LATENT))
    with pytest.raises(UserError, match="all alike"):
        Standard.of("centred", alike, 1.0)
