"""One training step and one reconstruction at 192 x 224 x 160: time and peak memory.

    python benchmarks/full_resolution.py --compressor wf-vae [--checkpointing] [--threads 2]
        [--precision 32-true] [--shape 192 224 160]

The study's own objective with every term (a random stand-in for the perceptual network), batch 1,
the whole volume as crop; each of the two in a process of its own, on the GPU where there is one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from hardware import describe
from wfdm.config.stages import TrainCompressorStage
from wfdm.training.progress import peak_memory_mb

from wfdm import models
from wfdm.config.features import FeatureSettings
from wfdm.config.study import Study
from wfdm.config.volumes import VolumeSettings
from wfdm.training import compressor


class OnlyTheStep(compressor.StageA):
    """The study's objective without its validation, which is measured on its own."""

    def validate(self, run, index):
        return 0.0


def measure_step(given: argparse.Namespace, folder: Path) -> dict[str, float]:
    settings = Study().compressors[given.compressor]
    assert settings.training is not None
    perceptual = settings.training.perceptual.model_copy(
        update={"network": FeatureSettings(depth=10, weights=None)}
    )
    training = settings.training.model_copy(
        update={
            "steps": given.steps,
            "batch_size": 1,
            "crop": tuple(given.shape),
            "perceptual": perceptual,
            "precision": given.precision,
            "checkpointing": given.checkpointing,
            "validate_every": given.steps,
            "validation_scans": 1,
        }
    )
    volume = VolumeSettings(shape=tuple(given.shape))
    stage = TrainCompressorStage(
        seed=1, name=given.compressor, volume=volume, architecture=settings.architecture,
        training=training,
    )  # fmt: skip
    path = folder / "volume.nii.gz"
    coarse = np.random.default_rng(0).random([side // 16 for side in given.shape], np.float32)
    smooth = coarse.repeat(16, 0).repeat(16, 1).repeat(16, 2)
    nib.save(nib.Nifti1Image(smooth, np.eye(4)), path)
    rows = [
        {"scan_id": split, "modality": "T1w", "path": str(path), "split": split}
        for split in ("train", "validation")
    ]
    compressor.StageA = OnlyTheStep
    files = compressor.Files(folder / "out")
    told = compressor.train_compressor(stage, pd.DataFrame(rows), files, given.threads, 0, "")
    return {"seconds": told["seconds_per_step"], "peak_memory_mb": told["peak_memory_mb"]}


@torch.inference_mode()
def measure_reconstruction(given: argparse.Namespace) -> dict[str, float]:
    torch.set_num_threads(given.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = models.build(Study().compressors[given.compressor].architecture).eval().to(device)
    x = torch.rand((1, 1, *given.shape), device=device)
    seconds = 0.0
    for _ in range(given.steps):  # the last round counts
        start = time.perf_counter()
        made = module.decode(module.encode(x)[0])
        float(made.mean())  # waits for a GPU
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_memory_mb": peak_memory_mb()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--compressor", default="wf-vae")
    arguments.add_argument("--checkpointing", action="store_true")
    arguments.add_argument("--precision", default="32-true")
    arguments.add_argument("--shape", type=int, nargs=3, default=(192, 224, 160))
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--steps", type=int, default=1)
    arguments.add_argument("--only", choices=["step", "reconstruction"])
    given = arguments.parse_args()
    if given.only == "step":
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure_step(given, Path(folder))))
        return
    if given.only == "reconstruction":
        print(json.dumps(measure_reconstruction(given)))
        return
    torch.set_num_threads(given.threads)
    print(describe())
    print(f"{given.compressor}, {given.precision}, checkpointing {given.checkpointing}")
    for name in ("reconstruction", "step"):
        command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{name}: {found['seconds']:.1f} s, {found['peak_memory_mb'] / 1000:.2f} GB")


if __name__ == "__main__":
    main()
