"""What `people.near_duplicate` is chosen by: how far apart scans of one person and of two are.

    python -m benchmarks.near_duplicates results/demo

reads the T1w volumes of a finished demo (phantoms, some with a second session two years later),
adds an altered copy of each (turned, moved, noise: another registration and export of one scan),
compares all, and times the comparison of as many scans as BrainScape has T1w. Writes
benchmarks/results/near_duplicates.json.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from benchmarks.full_size import RESULTS
from benchmarks.hardware import describe as hardware
from wfdm.config.volumes import VolumeSettings
from wfdm.data.near_duplicates import describe, find_pairs
from wfdm.data.table import read_scans, read_table

SHAPE = (80, 96, 80)  # the demo's, at 2 mm
FULL = 30965


def altered(path: str, seed: int, folder: Path) -> Path:
    """Write another export of a scan: turned by 1.5 degrees, moved by 1 mm, noise of 2 %."""
    image = nib.load(path)
    volume = ndimage.rotate(image.get_fdata(), 1.5, axes=(0, 1), reshape=False, order=1)
    volume = ndimage.shift(volume, (0.5, -0.5, 0.4), order=1)
    volume += np.random.default_rng(seed).normal(0, 0.02, volume.shape) * (volume > 0.02)
    target = folder / f"{seed}.nii.gz"
    nib.save(nib.Nifti1Image(volume.astype(np.float32), image.affine), target)
    return target


def distances(root: Path, folder: Path) -> dict:
    """Return the distances of copies, of second sessions and of the nearest two people."""
    folder.mkdir(exist_ok=True)
    scans = read_scans(root / "data/scans.tsv").set_index("scan_id")
    volumes = read_table(root / "preprocessed/volumes.tsv")
    t1w = volumes[volumes["modality"] == "T1w"].reset_index(drop=True)
    paths = list(t1w["path"]) + [altered(path, i, folder) for i, path in enumerate(t1w["path"])]
    names = list(t1w["scan_id"]) + [f"{name} copy" for name in t1w["scan_id"]]
    coefficients = np.array([describe(path, VolumeSettings(shape=SHAPE)) for path in paths])
    keys = pd.DataFrame({"scan_id": names, "modality": "T1w", "sha256": names})
    found, _ = find_pairs(keys, coefficients, {name: name for name in names}, 1.0)
    person = {name: scans.loc[name.removesuffix(" copy"), "person"] for name in names}
    share = found["distance"].astype(float)
    one = found["scan_a"].map(person) == found["scan_b"].map(person)
    same_scan = found["scan_a"].str.removesuffix(" copy") == found["scan_b"].str.removesuffix(
        " copy"
    )
    originals = ~(found["scan_a"] + found["scan_b"]).str.contains("copy")
    return {
        "T1w scans": len(t1w),
        "people": int(scans.loc[t1w["scan_id"], "person"].nunique()),
        "a scan and its altered copy, median": round(float(share[same_scan].median()), 3),
        "a scan and its altered copy, largest": round(float(share[same_scan].max()), 3),
        "two sessions of one person": sorted(share[one & ~same_scan & originals].round(3)),
        "two people, smallest": round(float(share[~one & originals].min()), 3),
        "two people, median": round(float(share[~one & originals].median()), 3),
    }


def full_size() -> dict:
    """Time the comparison of all pairs of as many scans as BrainScape has T1w."""
    coefficients = np.random.default_rng(0).normal(size=(FULL, 999)).astype(np.float32)
    names = [f"A/sub-{i:05d}_T1w" for i in range(FULL)]
    keys = pd.DataFrame({"scan_id": names, "modality": "T1w", "sha256": names})
    start = time.process_time()
    found, _ = find_pairs(keys, coefficients, {name: name for name in names}, 0.25)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = round(time.process_time() - start, 1)
    return {"scans": FULL, "cpu_s": seconds, "peak_mb": round(peak), "pairs": len(found)}


def main(root: Path) -> None:
    """Measure and write the results."""
    folder = Path(tempfile.mkdtemp())
    found = {
        "hardware": hardware(),
        "distance (share of differing bits)": distances(root, folder),
        "all pairs at full size, random coefficients": full_size(),
    }
    (RESULTS / "near_duplicates.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
