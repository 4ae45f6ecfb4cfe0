"""A cohort small enough to train stage B on within a test: shared by its test files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from wfdm.config.compressors import Architecture, HaarTransform
from wfdm.config.denoisers import (
    DenoiserTraining,
    LatentKind,
    ProcessSettings,
    RectifiedFlowSettings,
    UNetSettings,
)
from wfdm.config.volumes import VolumeSettings
from wfdm.data.metadata import load_schema
from wfdm.data.paths import scan_id
from wfdm.data.table import MODALITIES
from wfdm.data.volumes import model_affine
from wfdm.latents.cache import merge
from wfdm.latents.encode import encode_shard
from wfdm.models.compressors.registry import build, save
from wfdm.training.denoiser import StageB, Task, train_denoiser
from wfdm.training.plan import Job

VOLUME = VolumeSettings(shape=(16, 16, 16))
SPACING = 2.0
HAAR = HaarTransform(kind="haar", levels=1)  # needs no training
LATENT = (8, 8, 8, 8)  # of one level of the Haar transform
STATISTICS = {name: (1.0, 2.0) for name in ("age", "height", "weight", "BMI")}
SPLITS = ("train",) * 6 + ("validation",) * 2 + ("test",) * 4


def cohort() -> pd.DataFrame:
    """Return scans with their split: the four contrasts take turns."""
    rows = []
    for number, split in enumerate(SPLITS):
        modality, session = MODALITIES[number % 4], "1" if number % 2 else ""
        row = dict.fromkeys(load_schema().names, "") | {
            "scan_id": scan_id("ALPHA", f"{number:02d}", session, 0, modality),
            "dataset": "ALPHA",
            "person": f"ALPHA/{number:02d}",
            "subject": f"{number:02d}",
            "session": session,
            "group": "0",
            "modality": modality,
            "split": split,
            "age": str(20 + number),
            "sex": "female" if number % 3 else "",
        }
        rows.append(row)
    return pd.DataFrame(rows)


def write_volumes(folder: Path, scans: pd.DataFrame) -> pd.DataFrame:
    """Write a random volume per scan; return the table of volumes."""
    rng = np.random.default_rng(0)
    rows = []
    for number, key in enumerate(scans["scan_id"]):
        volume = rng.random(VOLUME.shape, dtype=np.float32)
        path = folder / f"{number}.nii.gz"
        nib.save(nib.Nifti1Image(volume, model_affine(VOLUME.shape, SPACING)), path)
        rows.append((key, str(path)))
    return pd.DataFrame(rows, columns=["scan_id", "path"])


def haar_compressor(folder: Path, architecture: Architecture = HAAR) -> Path:
    """Save a compressor that needs no training, or with the weights that it begins with."""
    save(folder, build(architecture))
    return folder


def encode_all(
    root: Path, scans: pd.DataFrame, shards: int = 2, architecture: Architecture = HAAR
) -> Path:
    """Encode the cohort; return the folder of latents."""
    volumes = write_volumes(root, scans)
    compressor = haar_compressor(root / "compressors" / architecture.kind, architecture)
    latents = root / "latents"
    for shard in range(shards):
        encode_shard(compressor, volumes, shard, shards, VOLUME, latents, "identity")
    merge(latents, shards, scans, compressor, VOLUME.shape, SPACING)
    return latents


def training_task(
    process: ProcessSettings | None = None, age_groups: bool = False, **changes: object
) -> Task:
    """Return a training of seconds."""
    training = {"steps": 4, "batch_size": 2, "warmup_steps": 0, "validate_every": 2}
    training |= {"learning_rate": 1e-2, "precision": "32-true"} | changes
    return Task(
        seed=7,
        name="tiny",
        network=UNetSettings(
            channels=(16, 16),
            attention=(False, True),
            head_channels=8,
            norm_groups=8,
            res_blocks=1,
            metadata_width=8,
        ),
        process=process or RectifiedFlowSettings(),
        training=DenoiserTraining.model_validate(training),
        age_group_from_age=age_groups,
    )


def train(
    folder: Path,
    out: Path,
    scans: pd.DataFrame | None = None,
    latents: LatentKind = "scale",
    **changes: Any,
) -> Path:
    """Train a denoiser on a folder of the cohort's latents; return the denoiser's folder."""
    scans = cohort() if scans is None else scans
    task = replace(training_task(**changes), latents=latents)
    train_denoiser(task, folder, scans, STATISTICS, Job(out, "identity"))
    return out


def die_at_step(patch: pytest.MonkeyPatch, step: int, objective: type = StageB) -> list[int]:
    """Let a training die as it begins a step, once; the list that is returned grows with each."""
    original, calls = objective.step, []

    def dies(self, *arguments):
        calls.append(1)
        if len(calls) == step:
            raise KeyboardInterrupt
        return original(self, *arguments)

    patch.setattr(objective, "step", dies)
    return calls
