"""Paired metrics against closed forms, and the mean-volume floor against NumPy."""

import math

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from wfdm import models
from wfdm.config.compressors import HaarTransform
from wfdm.config.volumes import VolumeSettings
from wfdm.data import mean_volumes
from wfdm.errors import UserError
from wfdm.evaluation import floors
from wfdm.evaluation.ms_ssim import ms_ssim_kernel
from wfdm.evaluation.reconstruction import (
    COLUMNS,
    LATENT,
    compare,
    evaluate_compressor,
)
from wfdm.models.compressors import registry

SHAPE = (48, 48, 48)
SETTINGS = VolumeSettings(shape=SHAPE, percentiles=(0, 100))
C1 = 0.01**2


def flat(value):
    return torch.full((1, 1, *SHAPE), value)


def noise(seed):
    return np.random.default_rng(seed).random(SHAPE, dtype=np.float32)


def in_unit_range(volume):
    """Stretch to exactly [0, 1], so that reading changes nothing."""
    return (volume - volume.min()) / (volume.max() - volume.min())


def write(folder, name, volume):
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(volume, np.eye(4)), path)
    return str(path)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((192, 224, 160), 9),
        ((96, 112, 80), 5),
        ((64, 80, 56), 3),
        ((80, 48, 64), 3),
        ((512, 512, 512), 11),
        ((176, 176, 176), 11),
    ],
)
def test_ms_ssim_window_follows_the_authors_rule(shape, kernel):
    assert ms_ssim_kernel(shape) == kernel


def test_ms_ssim_refuses_small_volumes():
    with pytest.raises(UserError, match="48 voxels"):
        ms_ssim_kernel((96, 96, 47))


@pytest.mark.parametrize("shape", [SHAPE, (64, 80, 56)])
def test_a_perfect_copy_is_perfect(shape):
    volume = torch.from_numpy(np.random.default_rng(0).random((1, 1, *shape), dtype=np.float32))
    scores = compare(volume, volume)
    assert scores["PSNR"] == math.inf
    assert scores["MSE"] == 0
    assert scores["SSIM"] == pytest.approx(1, abs=1e-5)
    assert scores["MS-SSIM"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("a", "b"), [(0.4, 0.5), (0.2, 0.9)])
def test_flat_volumes_have_closed_forms(a, b):
    scores = compare(flat(a), flat(b))
    luminance = (2 * a * b + C1) / (a**2 + b**2 + C1)
    assert scores["MSE"] == pytest.approx((a - b) ** 2, rel=1e-5)
    assert scores["PSNR"] == pytest.approx(-20 * math.log10(abs(a - b)), abs=1e-3)
    assert scores["SSIM"] == pytest.approx(luminance, abs=2e-3)  # float32 variances of flat input
    assert scores["MS-SSIM"] == pytest.approx(luminance**0.1333, abs=2e-3)


def test_psnr_and_ssim_are_clamped_but_mse_is_not():
    scores = compare(flat(1.5), flat(1.0))
    assert scores["MSE"] == pytest.approx(0.25)
    assert scores["PSNR"] == math.inf
    assert scores["SSIM"] == pytest.approx(1, abs=1e-5)


class Offset(torch.nn.Module):
    """A compressor whose reconstruction is its input plus 0.25."""

    def encode(self, x):
        return x, torch.zeros_like(x)

    def decode(self, z):
        return z + 0.25


def test_every_scan_is_compared_with_its_own_reconstruction(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "load", lambda folder: Offset())
    made = {f"A/sub-{i}_T1w": in_unit_range(noise(i)) for i in (1, 2)}
    volumes = pd.DataFrame(
        [
            {"scan_id": key, "modality": "T1w", "path": write(tmp_path, str(index), volume)}
            for index, (key, volume) in enumerate(made.items())
        ]
    )
    table = evaluate_compressor("unused", volumes, SETTINGS, tmp_path / "m.csv", "x")
    assert tuple(table.columns) == (*COLUMNS, *LATENT)
    assert list(table["scan_id"]) == list(made)
    assert table["LPIPS"].isna().all()
    np.testing.assert_allclose(table["MSE"], 0.0625, rtol=1e-5)
    for row, volume in zip(table.itertuples(), made.values(), strict=True):
        clamped = np.minimum(volume.astype(np.float64) + 0.25, 1)
        expected = -10 * np.log10(np.mean((clamped - volume) ** 2))
        assert pytest.approx(expected, abs=1e-3) == row.PSNR


def test_rounded_haar_filters_explain_the_papers_wavelet_rows(tmp_path):
    # Eight filters with entries 0.3536 scale a volume by 8 * 0.3536**2 per round trip, and
    # that alone makes the error; see rows "DWT" of the paper's table 3.
    architecture = HaarTransform(kind="haar", levels=1, haar="rounded")
    models.save(tmp_path, models.build(architecture))
    volume = in_unit_range(noise(4))
    scan = {"scan_id": "A/sub-1_T1w", "modality": "T1w", "path": write(tmp_path, "v", volume)}
    row = evaluate_compressor(
        tmp_path, pd.DataFrame([scan]), SETTINGS, tmp_path / "m.csv", "x"
    ).iloc[0]
    error = (8 * 0.3536**2 - 1) * volume.astype(np.float64)
    assert row["PSNR"] == pytest.approx(-10 * np.log10(np.mean(error**2)), abs=0.02)
    assert row["SSIM"] == pytest.approx(1, abs=1e-4)


@pytest.fixture
def cohort(tmp_path):
    """Two T1w (dark) and one T2w (bright) scans with noise."""
    rows, arrays = [], []
    for index, (modality, level) in enumerate((("T1w", 0.1), ("T1w", 0.3), ("T2w", 0.8))):
        volume = np.clip(level + 0.1 * noise(index), 0, 1)
        volume[0, 0, 0], volume[-1, -1, -1] = 0, 1
        arrays.append(volume)
        path = write(tmp_path, f"scan{index}", volume)
        rows.append({"scan_id": f"A/sub-{index}_{modality}", "modality": modality, "path": path})
    return pd.DataFrame(rows), np.stack(arrays)


def test_mean_volumes_equal_numpy_means_and_survive_the_disk(cohort, tmp_path):
    volumes, arrays = cohort
    mean_volumes.mean_volumes(volumes, SETTINGS, tmp_path / "means.safetensors")
    means = mean_volumes.read_means(tmp_path / "means.safetensors")
    assert set(means) == {"T1w", "T2w", "all"}
    np.testing.assert_allclose(means["T1w"][0], arrays[:2].mean(0), atol=1e-6)
    np.testing.assert_allclose(means["T2w"][0], arrays[2], atol=1e-6)
    np.testing.assert_allclose(means["all"][0], arrays.mean(0), atol=1e-6)


def test_floor_rows_score_the_means(cohort, tmp_path):
    volumes, arrays = cohort
    means = mean_volumes.mean_volumes(volumes[:2], SETTINGS, tmp_path / "means.safetensors")
    rows = floors.mean_volume_rows(means, volumes, SETTINGS, tmp_path / "m.csv", "x")
    table = rows.set_index(["reference", "scan_id"])
    error = np.mean((arrays[:2].mean(0) - arrays[2]) ** 2)
    row = table.loc[(floors.SAME_ANSWER, "A/sub-2_T2w")]
    assert row["MSE"] == pytest.approx(error, rel=1e-4)
    # The training split has no T2w, so the harder reference has no answer for it.
    assert (floors.SAME_MODALITY, "A/sub-2_T2w") not in table.index
    assert (floors.SAME_MODALITY, "A/sub-1_T1w") in table.index


def test_nearest_class_mean_recognises_the_modality(cohort, tmp_path):
    volumes, arrays = cohort
    means = mean_volumes.mean_volumes(volumes, SETTINGS, tmp_path / "means.safetensors")
    found = [mean_volumes.recognise(volume[None], means) for volume in arrays]
    assert found == ["T1w", "T1w", "T2w"]


def test_an_empty_training_split_is_told(tmp_path):
    nothing = pd.DataFrame(columns=["scan_id", "modality", "path"])
    with pytest.raises(UserError, match="training split"):
        mean_volumes.mean_volumes(nothing, SETTINGS, tmp_path / "means.safetensors")
    assert not list(tmp_path.iterdir())
