"""Orientation, choice of scans and stable bytes of the figures."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread

from wfdm import models
from wfdm.config.volumes import VolumeSettings
from wfdm.figures import panels
from wfdm.figures.reconstructions import figure2
from wfdm.figures.samples import figure3

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
