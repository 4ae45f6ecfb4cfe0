"""Sessions of one to four modalities, small enough to complete within a test: of several files."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from tests.unit.stage_b import SPACING, VOLUME, encode_all, train
from wfdm.config.completions import CompletionTraining, PlainUNetSettings
from wfdm.data.mean_volumes import mean_volumes
from wfdm.data.metadata import load_schema
from wfdm.data.paths import SPACE, key_of, scan_id, volume_name
from wfdm.data.table import MODALITIES, columns, rows_of, write_table
from wfdm.data.volumes import model_affine, write_nifti
from wfdm.training.completion import Task, train_completion
from wfdm.training.plain_unet import UNetTask, train_plain_unet
from wfdm.training.plan import Job

HAVE = {  # by session: split and modalities; the last has nothing to go with it
    "00": ("train", MODALITIES),
    "01": ("train", MODALITIES),
    "02": ("train", ("T1w", "FLAIR")),
    "03": ("validation", ("T1w", "T2w", "FLAIR")),
    "04": ("validation", ("T1w", "T1Gd")),
    "05": ("test", MODALITIES),
    "06": ("test", ("T1w", "T2w")),
    "07": ("test", ("T2w",)),
}


def cohort() -> pd.DataFrame:
    """Return scans with their split, as stage C reads them."""
    rows = [
        dict.fromkeys(load_schema().names, "")
        | {
            "scan_id": scan_id("ALPHA", subject, "", 0, modality),
            "dataset": "ALPHA",
            "person": f"ALPHA/{subject}",
            "subject": subject,
            "session": "",
            "group": "0",
            "modality": modality,
            "split": split,
            "age": str(20 + int(subject)),
        }
        for subject, (split, modalities) in HAVE.items()
        for modality in modalities
    ]
    return pd.DataFrame(rows)


def make(root: Path, steps: int = 4) -> Path:
    """Encode the cohort and train a denoiser under `root`; return it."""
    train(encode_all(root, cohort()), root / "denoisers" / "tiny", cohort(), steps=steps)
    return root


def completion_task(**changes: object) -> Task:
    """Return a training of seconds."""
    training = {"steps": 4, "batch_size": 2, "warmup_steps": 0, "validate_every": 2}
    training |= {"learning_rate": 1e-2, "precision": "32-true"} | changes
    return Task("branch", 7, 8, 8, CompletionTraining.model_validate(training), VOLUME)


def complete(root: Path, out: Path, scans: pd.DataFrame | None = None, **changes: object) -> Path:
    """Train a branch on the denoiser of `root`; return its folder."""
    given = (cohort() if scans is None else scans).drop(columns="person")
    task, denoiser = completion_task(**changes), root / "denoisers" / "tiny"
    train_completion(task, denoiser, root / "latents", given, Job(out, "identity"))
    return out


def regress(root: Path, out: Path, **changes: object) -> Path:
    """Train the plain U-Net beside `complete`'s branch; return its folder."""
    task, network = completion_task(**changes), PlainUNetSettings(channels=8, down=(1, 1), up=(1,))
    plain = UNetTask(task.name, task.seed, network, task.training)
    scans, denoiser = cohort().drop(columns="person"), root / "denoisers" / "tiny"
    train_plain_unet(plain, denoiser, root / "latents", scans, Job(out, "identity"))
    return out


def lay_out(root: Path) -> pd.DataFrame:
    """Give a study of `make` the tables and volumes that its stages read; return the volumes."""
    scans = cohort()
    inner = np.zeros(VOLUME.shape, np.uint8)
    inner[3:13, 3:13, 3:13] = 1
    paths = []
    for number, row in enumerate(rows_of(scans)):
        folder, prefix = key_of(row)
        where = root / "preprocessed" / folder
        where.mkdir(parents=True, exist_ok=True)
        paths.append(where / volume_name(prefix, row["modality"], SPACE, "preproc"))
        shutil.copy(root / f"{number}.nii.gz", paths[-1])
        mask = where / f"{prefix}_space-SRI24_desc-brain_mask.nii.gz"  # one for all of a session
        write_nifti(mask, inner, model_affine(VOLUME.shape, SPACING))
    volumes = scans[["scan_id", "modality"]].assign(path=[str(path) for path in paths], sha256="x")
    write_table(volumes, root / "preprocessed" / "volumes.tsv")
    full = scans.assign(path="x.nii.gz", state="raw")
    write_table(full[list(columns())], root / "scans.tsv")
    write_table(scans[["scan_id", "person", "split"]].assign(leak=""), root / "splits.tsv")
    training = volumes[scans["split"] == "train"]
    mean_volumes(training, VOLUME, root / "means.safetensors")
    return volumes
