"""One training step and one reconstruction at 192 x 224 x 160: time and peak memory.

    python -m benchmarks.full_resolution --compressor wf-vae [--checkpointing] [--threads 2]
        [--precision 32-true] [--shape 192 224 160]

The study's own objective with every term (a random stand-in for the perceptual network), batch 1,
the whole volume as crop; each of the two in a process of its own, on the GPU where there is one.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace

import torch

from benchmarks.gpu.full_size.sizes import Sizes, study
from benchmarks.gpu.full_size.training import compressor_step
from benchmarks.hardware import describe
from wfdm.config.study import Study
from wfdm.log import peak_memory_mb
from wfdm.models.compressors import registry


def measure_step(given: argparse.Namespace, sizes: Sizes) -> float:
    """Return the seconds of a step; nothing warms up, which is little beside it."""
    own = {"crop": tuple(given.shape), "precision": given.precision}
    sizes = replace(sizes, stage_a=sizes.stage_a.model_copy(update=own), warm_ups=0, repeats=1)
    found = compressor_step(sizes, 1, given.checkpointing, float("inf"))
    return found["seconds"]["whole"]["mean"]


@torch.inference_mode()
def measure_reconstruction(given: argparse.Namespace, sizes: Sizes) -> float:
    """Return the seconds of encoding and decoding a volume."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = registry.build(sizes.wavelet).eval().to(device)
    x = torch.rand((1, 1, *given.shape), device=device)
    start = time.perf_counter()
    made = module.decode(module.encode(x)[0])
    float(made.mean())  # waits for a GPU
    return time.perf_counter() - start


MEASURES = {"reconstruction": measure_reconstruction, "step": measure_step}


def main() -> None:
    """Print both, or with --only one of them as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--compressor", default="wf-vae")
    arguments.add_argument("--checkpointing", action="store_true")
    arguments.add_argument("--precision", default="32-true")
    arguments.add_argument("--shape", type=int, nargs=3, default=(192, 224, 160))
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--only", choices=list(MEASURES))
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    if given.only:
        architecture = Study().compressors[given.compressor].architecture
        sizes = replace(study(), volume=tuple(given.shape), wavelet=architecture)
        seconds = MEASURES[given.only](given, sizes)
        print(json.dumps({"seconds": seconds, "peak_memory_mb": peak_memory_mb()}))
        return
    print(describe())
    print(f"{given.compressor}, {given.precision}, checkpointing {given.checkpointing}")
    for name in MEASURES:
        command = [sys.executable, "-m", "benchmarks.full_resolution", *sys.argv[1:]]
        done = subprocess.run(
            [*command, "--only", name], check=True, stdout=subprocess.PIPE, text=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{name}: {found['seconds']:.1f} s, {found['peak_memory_mb'] / 1000:.2f} GB")


if __name__ == "__main__":
    main()
