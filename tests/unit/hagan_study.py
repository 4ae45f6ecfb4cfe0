"""A cohort of balls, and a small HA-GAN that is trained on them."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from torch import nn

from tests.unit.stage_b import cohort
from wfdm.baselines.hagan_training import Task
from wfdm.config.gans import GanTraining, HaganNetwork
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import model_affine
from wfdm.provenance.digests import sha256_of

VOLUME = VolumeSettings(shape=(40, 48, 32), percentiles=(0, 100))
SPACING = 2.0
SMALL = HaganNetwork(side=128, latent=8, channels=2)
TRAINING = {"steps": 4, "batch_size": 2, "warmup_steps": 0, "validate_every": 2}
TRAINING |= {"learning_rate": 1e-3, "precision": "32-true", "validation_scans": 1}


def heads(folder: Path) -> pd.DataFrame:
    """Write a head for every scan of the cohort: a ball, whose bright side tells the contrast."""
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


def parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
