"""Every architecture of table 3 on the demo cohort: equal steps, data and objective for all.

    python benchmarks/compressors.py --steps 800 --out benchmarks/compressors.csv
        [--root results/demo] [--only wf-vae,wavelet-vae] [--threads 2]

Needs preprocessed/volumes.tsv and data/splits.tsv of a finished demo under --root. Sizes are the
demo's for WF-VAE and WF-SA-VAE and of the same order for the others; objective, learning rate,
batch and crop are the demo's. Each row is written when it is done: a run that was cut off goes on
where it stood (delete the work folder, --root/../benchmark-compressors, to start afresh).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from hardware import describe

from wfdm import models
from wfdm.config import files, stages
from wfdm.config.codebooks import VectorQuantised
from wfdm.config.compressors import (
    CompressorSettings,
    HaarTransform,
    KLAutoencoder,
    MaisiAutoencoder,
    WaveletAutoencoder,
)
from wfdm.config.study import Study
from wfdm.data.table import write_csv
from wfdm.provenance.records import read, record_path

OTHERS = {
    "wavelet-vae": ("Wavelet VAE", WaveletAutoencoder(
        kind="wavelet-vae", channels=32, norm_groups=8)),
    "vae-gan": ("VAE-GAN", MaisiAutoencoder(
        kind="maisi", channels=(8, 16, 32), norm_groups=8)),
    "ldm-vae": ("LDM-VAE", KLAutoencoder(
        kind="autoencoder-kl", channels=(8, 16, 16, 16), norm_groups=8)),
    "vq-gan": ("VQ-GAN", VectorQuantised(
        kind="vq-vae", channels=(16, 32), codes=512)),
    "vq-vae": ("VQ-VAE", VectorQuantised(
        kind="vq-vae", channels=(16, 16, 32), res_layers=3, codes=256, code_channels=32,
        symmetric=False)),
    "dwt-1": ("DWT (1-stage)", HaarTransform(kind="haar", levels=1)),
    "dwt-2": ("DWT (2-stage)", HaarTransform(kind="haar", levels=2)),
    "dwt-2-rounded": ("DWT (2-stage, rounded filters)", HaarTransform(
        kind="haar", levels=2, haar="rounded")),
}  # fmt: skip


def study_of(steps: int) -> Study:
    """Return the demo with a row for every architecture, all trained alike."""
    demo = files.read_study("config/config.yaml", "config/demo.yaml")
    mine = demo.compressors["wf-vae"].training
    assert mine is not None

    def scaled(term):
        share = term.warmup_steps / mine.steps
        return term.model_copy(update={"warmup_steps": round(share * steps)})

    training = mine.model_copy(
        update={
            "steps": steps,
            "adversarial": scaled(mine.adversarial),
            "perceptual": scaled(mine.perceptual),
            "validate_every": min(mine.validate_every, steps),
        }
    )
    rows = {
        name: demo.compressors[name].model_copy(update={"training": training})
        for name in ("wf-sa-vae", "wf-vae")
    }
    for name, (label, architecture) in OTHERS.items():
        fixed = isinstance(architecture, HaarTransform)
        rows[name] = CompressorSettings(
            label=label, architecture=architecture, training=None if fixed else training
        )
    return demo.model_copy(update={"compressors": rows})


def wfdm(*arguments: object) -> None:
    command = [sys.executable, "-c", "from wfdm.cli import main; main()", *map(str, arguments)]
    subprocess.run(command, check=True)


def measure(study: Study, name: str, root: Path, work: Path, threads: int) -> dict[str, object]:
    scans = (
        "--volumes", root / "preprocessed/volumes.tsv", "--splits", root / "data/splits.tsv",
        "--threads", threads,
    )  # fmt: skip
    stage = stages.train_compressor(study, name)
    model, metrics = work / name / "model.safetensors", work / f"{name}.csv"
    cache = ("--cache", work / "cache", "--cache-mb", study.cache_mb)
    wfdm("train-compressor", "--settings", stage.model_dump_json(), *scans, *cache, "--out", model)
    told = read(record_path(model))["results"]
    settings = stages.reconstruction(study).model_dump_json()
    wfdm(
        *("evaluate", "reconstruction", "--settings", settings, "--compressor", model),
        *(*scans, "--out", metrics),
    )
    found = pd.read_csv(metrics)
    history = pd.read_csv(model.with_name("history.csv"))
    module = models.load(model.parent)
    return {
        "Model": study.compressors[name].label,
        "parameters": sum(p.numel() for p in module.parameters()),
        "compression": found["compression"][0],
        "channels": found["channels"][0],
        "steps": stage.training.steps if stage.training else 0,
        "seconds_per_step": round(told["seconds_per_step"], 3) if told else None,
        "peak_memory_mb": round(told["peak_memory_mb"]) if told else None,
        "n": len(found),
        **{metric: found[metric].mean() for metric in ("PSNR", "SSIM", "MS-SSIM", "MSE")},
        "val_loss": history["val_loss"].min(),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--root", type=Path, default=Path("results/demo"))
    arguments.add_argument("--only", help="names, with commas between them")
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    study = study_of(given.steps)
    work = given.root.parent / "benchmark-compressors" / str(given.steps)
    rows = []
    for name in given.only.split(",") if given.only else study.compressors:
        done = work / f"{name}.json"
        if not done.exists():
            row = measure(study, name, given.root, work, given.threads)
            done.write_text(json.dumps(row, default=lambda value: value.item()))
        rows.append(json.loads(done.read_text()) | {"hardware": describe()})
        write_csv(pd.DataFrame(rows), given.out)
    print(pd.DataFrame(rows).drop(columns="hardware").to_string(index=False))


if __name__ == "__main__":
    main()
