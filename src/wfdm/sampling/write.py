"""Synthetic volumes on disk: NIfTI with a BIDS sidecar, for a shard of the study or a user."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from wfdm.atomic import atomic_path, write_text
from wfdm.config.stages import SampleStage
from wfdm.data.metadata import load_schema, normalise
from wfdm.data.paths import key_of, volume_name
from wfdm.data.table import write_table
from wfdm.data.volumes import model_affine
from wfdm.errors import UserError
from wfdm.provenance.fingerprints import fingerprint
from wfdm.provenance.records import sha256_of
from wfdm.sampling.generate import (
    Generator,
    Request,
    generate,
    load_generator,
    noise_generator,
)
from wfdm.training.latents import in_shard, shard_path
from wfdm.training.progress import Ticker

SPACE = "SRI24"


def sample_shard(
    stage: SampleStage,
    generator: Path | None,
    latents: Path,
    scans: pd.DataFrame,
    shard: int,
    shards: int,
    out: Path,
    threads: int,
) -> None:
    """Make one synthetic volume per test scan of a shard, and OUT/shard-NNNN.tsv.

    Each takes modality and metadata of its scan. Volumes that are there already, with the very
    sidecar they would get, are kept.

    Args:
        stage: the settings.
        generator: folder of the trained generator; None decodes unit noise.
        latents: folder of the latents; gives the space of the noise.
        scans: scan table joined with `split`.
        shard: which part, from 0.
        shards: number of parts.
        out: folder of the samples.
        threads: CPU threads, where there is no GPU.

    Raises:
        UserError: models and latents do not fit, or metadata cannot be read.
    """
    torch.set_num_threads(threads)
    loaded = load_generator(generator) if generator else noise_generator(stage.name, latents)
    test = scans[scans["split"] == "test"].set_index("scan_id", drop=False)
    rows = test.loc[in_shard(test["scan_id"], shard, shards)].to_dict("records")
    requests = {_sample_path(out, row): _request(row["scan_id"], row) for row in rows}
    label = f"sample {stage.name} shard {shard}"
    _make(loaded, requests, stage.sampling_steps, stage.seed, label)
    made = [
        (request.name, request.modality, str(path), sha256_of(path))
        for path, request in requests.items()
    ]
    table = pd.DataFrame(made, columns=["scan_id", "modality", "path", "sha256"])
    write_table(table, shard_path(out, shard, ".tsv"))


def sample_request(
    checkpoint: Path,
    modality: str,
    metadata: Mapping[str, object],
    count: int,
    out: Path,
    seed: int,
    steps: int,
    threads: int,
) -> list[Path]:
    """Make `count` volumes on a user's request and return their paths.

    Number i starts from the same noise whatever the conditions, so two requests that differ in
    age alone give volumes that differ by age alone.

    Args:
        checkpoint: folder of a trained generator; it names its compressor.
        modality: one of MODALITIES.
        metadata: field name to value; unnamed fields are "not recorded".
        count: number of volumes.
        out: folder to write them into.
        seed: of the noise.
        steps: of the sampler (paper: 50).
        threads: CPU threads, where there is no GPU.

    Raises:
        UserError: unknown modality or metadata, or the checkpoint is not whole.
    """
    torch.set_num_threads(threads)
    unknown = set(metadata) - set(load_schema().names)
    if unknown:
        raise UserError(f"metadata: no field '{min(unknown)}'; see config/metadata.yaml")
    loaded = load_generator(checkpoint)
    names = [f"sub-synthetic{number:04d}" for number in range(1, count + 1)]
    requests = {
        out / volume_name(name, modality, SPACE, "synthetic"): Request(name, modality, metadata)
        for name in names
    }
    _make(loaded, requests, steps, seed, "sample")
    return list(requests)


def write_sample(
    path: Path, volume: np.ndarray, spacing: float, sidecar: Mapping[str, Any]
) -> None:
    """Write one synthetic volume and its BIDS sidecar; equal volumes make equal files.

    The sidecar comes last: where it lies, the volume beside it is whole.

    Args:
        path: a .nii.gz file.
        volume: (R, A, S) float32 in [0, 1], on the SRI-24 grid as `model_affine` cuts it.
        spacing: of the grid in mm.
        sidecar: content of the JSON file beside it.
    """
    image = nib.Nifti1Image(volume, model_affine(volume.shape, spacing))
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"SYNTHETIC: made by WFDM"
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
    write_text(_sidecar_path(path), _as_text(sidecar))


def describe_sample(
    generator: Generator, request: Request, steps: int | None, seed: int
) -> dict[str, Any]:
    """Return the sidecar of a sample: that it is synthetic, what was asked, what made it."""
    conditions = {
        field.name: text
        for field in load_schema().fields
        if (text := normalise(field, request.metadata.get(field.name), request.name))
    }
    return {
        "Synthetic": True,
        "Description": "Synthetic brain MRI made by a generative model; nobody was scanned",
        "Contrast": request.modality,
        "Conditions": conditions,
        "SampleName": request.name,
        "Seed": seed,
        "SamplingSteps": steps,
        "Generator": generator.name,
        "ModelSHA256": dict(generator.digests),
        "LatentScale": generator.space.scale,
        "CodeSHA256": fingerprint("sample", generator.compressor.settings.implementation),
        "SkullStripped": True,
        "Space": SPACE,
    }


def _make(
    generator: Generator,
    requests: Mapping[Path, Request],
    steps: int | None,
    seed: int,
    label: str,
) -> None:
    """Write every requested volume that is not there yet."""
    sidecars = {
        path: describe_sample(generator, request, steps, seed) for path, request in requests.items()
    }
    todo = [path for path in requests if not _is_there(path, sidecars[path])]
    ticker = Ticker(label, len(requests), len(requests) - len(todo))
    volumes = generate(generator, (requests[path] for path in todo), steps, seed)
    for number, (path, (_, volume)) in enumerate(zip(todo, volumes, strict=True), start=1):
        write_sample(path, volume, generator.space.spacing, sidecars[path])
        ticker.tick(len(requests) - len(todo) + number, {})


def _is_there(path: Path, sidecar: Mapping[str, Any]) -> bool:
    beside = _sidecar_path(path)
    found = path.is_file() and beside.is_file()
    return found and beside.read_text(encoding="utf-8") == _as_text(sidecar)


def _as_text(sidecar: Mapping[str, Any]) -> str:
    return json.dumps(sidecar, indent=1) + "\n"


def _sidecar_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _sample_path(out: Path, row: Mapping[Any, Any]) -> Path:
    folder, prefix = key_of(row)
    return out / folder / volume_name(prefix, row["modality"], SPACE, "synthetic")


def _request(name: str, row: Mapping[Any, Any]) -> Request:
    metadata = {field: row[field] for field in load_schema().names}
    return Request(name, str(row["modality"]), metadata)
