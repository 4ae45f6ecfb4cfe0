"""Training crops at the study's size: from compressed NIfTI files, and from the binary cache.

    python benchmarks/loading.py [--volumes 6] [--crops 30]

Volumes of 240 x 240 x 155 voxels (the SRI-24 grid) with tissue-like smoothness and noise, inside a
head-sized mask; crops of 128 x 128 x 128. Prints seconds per crop: files, cache while it fills,
cache once it is full.
"""

import argparse
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from hardware import describe
from scipy import ndimage

from wfdm.config.volumes import VolumeSettings
from wfdm.provenance.digests import sha256_of
from wfdm.training.crops import Crops
from wfdm.training.volume_cache import Volumes

GRID, CROP = (240, 240, 155), (128, 128, 128)


def write_volume(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random([side // 10 for side in GRID], np.float32)
    smooth = ndimage.zoom(coarse, [g / c for g, c in zip(GRID, coarse.shape, strict=True)], order=1)
    noisy = smooth[: GRID[0], : GRID[1], : GRID[2]] + 0.02 * rng.standard_normal(GRID)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in GRID), indexing="ij", sparse=True)
    brain = sum((axis / 0.65) ** 2 for axis in axes) < 1
    nib.save(nib.Nifti1Image((noisy * brain).astype(np.float32), np.eye(4)), path)


def seconds_per_crop(crops: Crops, count: int) -> float:
    start = time.perf_counter()
    for step in range(count):
        crops.draw(np.random.default_rng(step))
    return (time.perf_counter() - start) / count


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--volumes", type=int, default=6)
    arguments.add_argument("--crops", type=int, default=30)
    given = arguments.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index in range(given.volumes):
            write_volume(folder / f"{index}.nii.gz", index)
        paths = [folder / f"{index}.nii.gz" for index in range(given.volumes)]
        table = pd.DataFrame({"path": map(str, paths), "sha256": map(sha256_of, paths)})
        files = Crops(Volumes(table, VolumeSettings(), None, 0), CROP)
        cached = Crops(Volumes(table, VolumeSettings(), folder / "cache", 1e6), CROP)
        told = {
            "compressed files": seconds_per_crop(files, given.volumes),
            "cache, filling": seconds_per_crop(cached, given.volumes),
        }
        for index in range(given.volumes):  # whatever chance has left out
            cached.volumes[index]
        told["cache, full"] = seconds_per_crop(cached, given.crops)
    for source, seconds in told.items():
        print(f"{source}: {seconds * 1000:.1f} ms per crop")


if __name__ == "__main__":
    main()
