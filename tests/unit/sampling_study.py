"""A small study that samples are asked of."""

from pathlib import Path

import numpy as np

from tests.unit.stage_b import VOLUME, cohort, encode_all, train
from wfdm.data.mean_volumes import mean_volumes
from wfdm.data.table import columns, write_table
from wfdm.generators import Generator, Request

STEPS = 3


REQUESTS = [
    Request("a", "T1w", {"age": "30"}),
    Request("b", "T2w", {}),
    Request("c", "FLAIR", {"sex": "male"}),
    Request("d", "T1Gd", {"tumor": "yes"}),
    Request("e", "T1w", {}),
]


def lay_out(root: Path) -> Path:
    """Fill a folder with tables, latents and a barely trained denoiser."""
    scans = cohort()
    latents = encode_all(root, scans)
    train(latents, root / "denoisers" / "tiny")
    full = scans.assign(path="x.nii.gz", state="raw")
    write_table(full[list(columns())], root / "scans.tsv")
    volumes = scans.assign(path=[str(root / f"{number}.nii.gz") for number in range(len(scans))])
    write_table(volumes[["scan_id", "modality", "path"]], root / "volumes.tsv")
    mean_volumes(volumes[volumes["split"] == "train"], VOLUME, root / "means.safetensors")
    splits = scans[["scan_id", "person", "split"]].assign(leak="")
    write_table(splits, root / "splits.tsv")
    return root


def made(generator: Generator, requests: list[Request], seed: int = 7) -> dict[str, np.ndarray]:
    return {each.request.name: each.volume for each in generator.sample(requests, seed)}
