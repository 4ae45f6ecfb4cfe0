"""What `benchmarks.rates` works on: volumes of the study's size, tables, results of shards.

    python -m benchmarks.rates_inputs FOLDER ASSETS        # write all of it
    python -m benchmarks.rates_inputs FOLDER --time WHAT   # CPU-seconds of a part of a stage

A process of its own: the peak memory of a command that `benchmarks.rates` starts begins with what
it holds itself, so it must not import torch.
"""

import json
import sys
import time
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from benchmarks.rates_audits import FEATURES, random_features
from wfdm.audits.neighbours import BLOCK, rms
from wfdm.config.memorisation import MemorisationSettings
from wfdm.config.study import Study
from wfdm.data.grid import sri24_grid
from wfdm.data.shards import shard_path
from wfdm.data.table import columns, write_csv, write_scans, write_table
from wfdm.data.volumes import load_standardised, read_image, write_nifti
from wfdm.evaluation.pairs import pairs_of
from wfdm.evaluation.reconstruction import METRICS
from wfdm.models.compressors.registry import build, save
from wfdm.models.features.lpips import Lpips
from wfdm.seeds import generator_for

COMPRESSOR = "wf-sa-vae"
SCANS, SAME = 4, 400
LATENT, LATENTS = (4, 48, 56, 40), 24
SHARDS = 64
TEST = {"T1w": 3414, "T2w": 867, "T1Gd": 297, "FLAIR": 815}


def write(folder: Path, assets: Path) -> None:
    """Write volumes, tables, a compressor and shards of results."""
    torch.manual_seed(0)
    study = Study()
    scans = _scans(folder, assets)
    _cohort(folder / "cohort")
    compressor = folder / "compressors" / COMPRESSOR
    save(compressor, build(study.compressors[COMPRESSOR].architecture))
    _latents(folder / "latents")
    _judged(folder / "judged", study)
    print(f"{len(scans)} scans, {scans['bytes'].mean() / 1e6:.1f} MB each")


def _scans(folder: Path, assets: Path) -> pd.DataFrame:
    """Write T1w scans as delivered on the atlas's grid: its brain, with noise and another shade."""
    brain = np.asarray(read_image(assets / "sri24.nii").dataobj)
    brain = brain / np.percentile(brain, 99.9)
    grid, rows = sri24_grid(1.0), []
    for number in range(SCANS):
        random = generator_for(0, "rates", str(number))
        coarse = random.random([side // 16 for side in brain.shape])
        zoom = np.array(brain.shape) / coarse.shape
        shade = 0.9 + 0.2 * ndimage.zoom(coarse, zoom, order=1)
        noisy = brain * shade + 0.02 * random.standard_normal(brain.shape)
        volume = np.where(brain > 0, noisy, 0).clip(0, 1).astype(np.float32)
        path = folder / "scans" / f"{number}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, volume, grid.affine)
        rows.append(_row(number, "T1w", path) | {"bytes": path.stat().st_size})
    table = pd.DataFrame(rows)
    for count in (1, SCANS):
        few = table[:count]
        write_scans(few, folder / f"scans-{count}.tsv")
        volumes = few[["scan_id", "modality", "path"]].assign(sha256="0")
        write_table(volumes, folder / f"volumes-{count}.tsv")
    same = [_row(number, "T1w", table["path"][0]) for number in range(SAME)]  # to be hashed
    write_scans(pd.DataFrame(same), folder / f"scans-{SAME}.tsv")
    for split in ("train", "test"):
        splits = table[["scan_id", "person"]].assign(split=split, leak="")
        write_table(splits, folder / f"{split}.tsv")
    return table


def _row(number: int, modality: str, path: Path | str) -> dict[str, object]:
    """Return a row of the scan table: a person each."""
    subject = f"{number:05d}"
    known = dict.fromkeys(columns(), "") | {"age": "40", "sex": "female"}
    return known | {
        "scan_id": f"A/sub-{subject}_{modality}",
        "dataset": "A",
        "person": f"A/{subject}",
        "subject": subject,
        "group": "0",
        "modality": modality,
        "path": str(path),
        "state": "preprocessed",
    }


def _cohort(folder: Path) -> None:
    """Write a scan table of the paper's size: 45,880 scans."""
    counts = {"T1w": 30965, "T2w": 6893, "FLAIR": 6552, "T1Gd": 1470}
    rows = [_row(n, name, "none") for name, count in counts.items() for n in range(count)]
    write_scans(pd.DataFrame(rows), folder / "scans.tsv")


def _latents(folder: Path) -> None:
    """Write shards of 1 and of LATENTS random latents."""
    for count in (1, LATENTS):
        part = shard_path(folder / str(count), 0, 1, ".npy")
        part.parent.mkdir(parents=True)
        random = np.random.default_rng(0).standard_normal((count, 2, *LATENT))
        np.save(part, random.astype(np.float16))
        names = [f"A/sub-{number:05d}_T1w" for number in range(count)]
        table = pd.DataFrame({"scan_id": names, "row": range(count)})
        write_table(table, part.with_suffix(".tsv"))
        splits = table[["scan_id"]].assign(person=table["scan_id"], split="train", leak="")
        write_table(splits, folder / f"train-{count}.tsv")
        volumes = table[["scan_id"]].assign(modality="T1w", path="none", sha256="0")
        write_table(volumes, folder / f"volumes-{count}.tsv")


def _judged(folder: Path, study: Study) -> None:
    """Write what the stages behind the shards read: features, pairs, rows of reconstructions."""
    folder.mkdir()
    names = [(f"A/sub-{n:05d}_{name}", name) for name, count in TEST.items() for n in range(count)]
    scans = pd.DataFrame(names, columns=["scan_id", "modality"])
    pairs = pairs_of(scans, study.evaluation.diversity_pairs, 0, "wfdm").assign(**{"MS-SSIM": 0.5})
    random = np.random.default_rng(0)
    for shard in range(SHARDS):
        mine = scans[shard::SHARDS]
        about = list(mine["scan_id"]), list(mine["modality"])
        for number, cohort in enumerate(("real", "made")):
            path = folder / f"{cohort}-{shard:02d}.safetensors"
            random_features(*about, 2 * shard + number, path)
        write_csv(pairs[shard::SHARDS], folder / f"pairs-{shard:02d}.csv")
        scores = {name: random.random(len(mine)) for name in METRICS}
        rows = mine.assign(**scores, compression="1/4", channels=4)
        write_csv(rows, folder / f"rows-{shard:02d}.csv")
        write_csv(rows.assign(reference="all"), folder / f"floor-{shard:02d}.csv")


def _compared(shape: tuple[int, ...]) -> None:
    """Compare a block of queries with a block of training scans, in all three spaces."""
    cubes = prod(side // MemorisationSettings().pool for side in shape)
    for numbers, inside in ((prod(LATENT), False), (FEATURES, False), (cubes, True)):
        one, other = np.ones((2, BLOCK, numbers), np.float32)
        rms(one, other, inside)


def seconds(what: str, folder: Path) -> float:
    """Return the CPU-seconds of a part of stages, on one thread."""
    torch.set_num_threads(1)
    settings = Study().volume
    path = folder / "scans" / "0.nii.gz"
    volume = load_standardised(path, settings)
    batch = torch.from_numpy(volume)[None]
    network = Lpips("alex").eval()
    affine = sri24_grid(1.0).affine
    parts = {
        "load": lambda: load_standardised(path, settings),
        "write": lambda: write_nifti(folder / "written.nii.gz", volume[0], affine),
        "lpips": lambda: network(batch, batch.flip(2)),
        "neighbours block": partial(_compared, settings.shape),
    }
    with torch.inference_mode():
        start = time.process_time()
        parts[what]()
        return time.process_time() - start


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if sys.argv[2] == "--time":
        print(json.dumps({"cpu_s": seconds(sys.argv[3], place)}))
    else:
        write(place, Path(sys.argv[2]))
