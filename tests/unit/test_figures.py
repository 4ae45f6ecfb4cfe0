"""Orientation, choice of scans and stable bytes of the figures."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread

from wfdm import models
from wfdm.config.compressors import HaarTransform, WaveletFusion
from wfdm.config.generators import UNetSettings
from wfdm.config.stages import ArchitectureStage
from wfdm.config.volumes import VolumeSettings
from wfdm.data.metadata import load_schema
from wfdm.errors import UserError
from wfdm.figures import architecture, panels
from wfdm.figures.reconstructions import figure2
from wfdm.figures.samples import figure3
from wfdm.models.unet import Denoiser

SETTINGS = VolumeSettings(shape=(20, 24, 16), percentiles=(0, 100))


def test_left_of_the_brain_is_left_in_the_image_and_anterior_on_top():
    volume = np.zeros((1, 20, 24, 16))
    volume[0, 2, 21, 8] = 1  # RAS: low first index is left, high second index is anterior
    image = panels.axial(volume)
    assert image.shape == (24, 20)
    assert np.argwhere(image == 1).tolist() == [[2, 2]]


def test_the_choice_of_scans_is_by_seed_and_not_by_order():
    scans = pd.DataFrame({"scan_id": [f"A/sub-{i}_T1w" for i in range(30)], "modality": "T1w"})
    first = panels.choose(scans, "T1w", 1)["scan_id"]
    assert panels.choose(scans[::-1], "T1w", 1)["scan_id"] == first
    assert len({panels.choose(scans, "T1w", seed)["scan_id"] for seed in range(20)}) > 5
    assert panels.choose(scans, "T2w", 1) is None


@pytest.fixture
def volumes(tmp_path):
    rows = []
    for index, modality in enumerate(("T1w", "T2w")):
        path = tmp_path / f"{modality}.nii.gz"
        volume = np.random.default_rng(index).random(SETTINGS.shape, dtype=np.float32)
        nib.save(nib.Nifti1Image(volume, np.eye(4)), path)
        key = f"A/sub-1_{modality}"
        rows.append({"scan_id": key, "modality": modality, "path": str(path)})
    return pd.DataFrame(rows)


def bytes_of(paths):
    return [path.read_bytes() for path in paths]


class Negative(torch.nn.Module):
    """A compressor that inverts intensities, so that its column can be told from the input."""

    def encode(self, x):
        return 1 - x, torch.zeros_like(x)

    def decode(self, z):
        return z


def test_figure_2_shows_each_compressor_and_is_the_same_every_time(volumes, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "load", lambda folder: Negative())
    draw = [
        figure2({"WF-VAE": "x", "Other": "y"}, volumes, SETTINGS, 1, tmp_path / name, 80)
        for name in ("a", "b")
    ]
    assert [path.suffix for path in draw[0]] == [".pdf", ".png"]
    assert bytes_of(draw[0]) == bytes_of(draw[1])
    assert draw[0][0].read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in draw[0][0].read_bytes()
    assert imread(draw[0][1]).std() > 0.05


def test_figure_3_changes_with_a_sample_and_leaves_missing_ones_empty(volumes, tmp_path):
    without = figure3({"WFDM": volumes[:0]}, volumes, SETTINGS, 1, tmp_path / "without", 80)
    whole = figure3({"WFDM": volumes}, volumes, SETTINGS, 1, tmp_path / "whole", 80)
    empty, full = imread(without[1])[..., :3], imread(whole[1])[..., :3]
    assert empty.shape == full.shape
    changed = np.argwhere((empty != full).any(axis=2))
    # Only the right-hand column, and of it only the two modalities that have a scan, changes.
    assert changed[:, 1].min() > empty.shape[1] * 0.55
    assert changed[:, 0].max() < empty.shape[0] * 0.6


@pytest.fixture(scope="module")
def small() -> ArchitectureStage:
    return ArchitectureStage(
        label="WFDM",
        compressor="WF-SA-VAE",
        volume=VolumeSettings(shape=(32, 48, 32)),
        architecture=WaveletFusion(
            kind="wavelet-fusion",
            channels=(16, 32),
            wavelet_channels=8,
            attention=True,
            norm_groups=8,
        ),
        unet=UNetSettings(
            channels=(16, 32), attention=(False, True), head_channels=8, norm_groups=8
        ),
        sampling_steps=5,
        dpi=60,
    )


def test_figure_1_shows_the_shapes_that_the_model_makes(small):
    with torch.device("meta"):
        module = models.build(small.architecture)
        boxes, arrows = architecture.compression(module, small.volume.shape)
        denoiser = Denoiser(small.unet, 4, load_schema())
        lower, _ = architecture.diffusion(denoiser, small, (4, 8, 12, 8))
    half, quarter = (16, 24, 16), (8, 12, 8)
    assert boxes["c1"].shape == (8, *half) and boxes["c2"].shape == (32, *quarter)
    assert boxes["w1"].shape == (8, *half) and boxes["w2"].shape == (8, *quarter)
    assert boxes["cat"].shape == (8 + 16, *quarter)  # w2 beside the halved features
    assert boxes["z"].shape == (4, *quarter)
    assert "self-attention" in boxes["e2"].title and "attention" not in boxes["e1"].title
    assert boxes["out"].shape == boxes["v"].shape == (1, 32, 48, 32)
    assert {end for pair in arrows for end in pair} == set(boxes)
    assert lower["down 1"].shape == lower["up 1"].shape == (16, *quarter)
    assert lower["down 2"].shape == lower["up 2"].shape == (32, 4, 6, 4)


def test_figure_1_follows_the_settings(small, tmp_path):
    plain = small.architecture.model_copy(update={"attention": False})
    other = small.model_copy(update={"architecture": plain})
    made = [
        bytes_of(architecture.figure1(stage, tmp_path / "1")) for stage in (small, small, other)
    ]
    assert made[0] == made[1] != made[2]
    haar = small.model_copy(update={"architecture": HaarTransform(kind="haar", levels=2)})
    with pytest.raises(UserError, match="figure 1 shows wavelet fusion"):
        architecture.figure1(haar, tmp_path / "1")
