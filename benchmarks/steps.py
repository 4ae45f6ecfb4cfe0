"""Fewer steps: how near a sampler of few steps comes to many, and what it costs.

    python -m benchmarks.steps DENOISER --out FILE.csv [--steps 4 8 12 16 25 50] [--volumes 4]

DENOISER is the folder of a trained denoiser in a study's results, which is only read. Every sampler
that fits its process starts from the same noise and conditions. The row's error is the relative
distance (norm) of its latents from a reference of the same process, with `--reference` steps
of its most exact sampler; `floor` is the distance that another noise makes, so that an error far
below it changes no volume to the eye. Seconds are of denoising alone, on this machine.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
import torch

from benchmarks.hardware import describe
from wfdm.atomic import write_text
from wfdm.config.generators import SAMPLERS, SamplerSettings
from wfdm.generators.latent_diffusion import load
from wfdm.generators.protocol import Request
from wfdm.models.denoisers.folder import read_config

STEPS = (4, 8, 12, 16, 25, 50)
EXACT = {"rflow": "heun", "ddpm": "dpm-solver++"}
ASKED = {"heun": 2}
"""how often a step asks the network, where that is not once"""
SEED = 7


def measured(folder: Path, steps: list[int], volumes: int, reference: int) -> pd.DataFrame:
    """Return a row for each sampler and number of steps."""
    config = read_config(folder)
    kind, names = config["process"].kind, config["modalities"]
    requests = [Request(f"steps-{n}", names[n % len(names)], {"age": "50"}) for n in range(volumes)]

    def latents(sampler: str, count: int, asked: list[Request]) -> tuple[torch.Tensor, float]:
        made = load(folder, SamplerSettings.model_validate({"sampler": sampler, "steps": count}))
        began = time.perf_counter()
        found = made.denoise(asked, SEED)
        return found, (time.perf_counter() - began) / len(asked)

    wanted, _ = latents(EXACT[kind], reference, requests)
    others = [
        Request(f"another-{n}", each.modality, each.metadata) for n, each in enumerate(requests)
    ]
    floor = _distance(latents(EXACT[kind], reference, others)[0], wanted)
    rows = []
    for sampler, kinds in SAMPLERS.items():
        if kind not in kinds or sampler == "ancestral":  # its end depends on the noise on the way
            continue
        for count in steps:
            found, seconds = latents(sampler, count, requests)
            told = {"error": f"{_distance(found, wanted):.4g}", "floor": f"{floor:.4g}"}
            asks = count * ASKED.get(sampler, 1)
            row = {"sampler": sampler, "steps": count, "asks the network": asks}
            rows.append(row | told | {"s/volume": f"{seconds:.3f}"})
    table = pd.DataFrame(rows)
    table["reference"] = f"{EXACT[kind]}, {reference} steps"
    table["volumes"], table["hardware"] = volumes, describe()
    return table


def _distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("denoiser", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--volumes", type=int, default=4)
    parser.add_argument("--reference", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    table = measured(given.denoiser, list(given.steps), given.volumes, given.reference)
    write_text(given.out, table.to_csv(index=False))
    print(table.drop(columns="hardware").to_string(index=False))


if __name__ == "__main__":
    main()
