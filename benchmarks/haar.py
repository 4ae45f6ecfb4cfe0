"""Haar transform, forward and inverse at the study's size: ours and BrainMint's, paired.

    python benchmarks/haar.py [--repeats 5] [--threads 1]

Both transforms take turns in one process, so that other load on the machine falls on both. Prints
the times, their median ratio, and how far each is from restoring the volume.
"""

import argparse
import statistics
import time

import torch
from brainmint.models.blocks.haar_wavelet_fusion import (
    HaarWaveletTransform3D,
    InverseHaarWaveletTransform3D,
)
from hardware import describe

from wfdm.models import haar

SHAPE = (192, 224, 160)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=1)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    x = torch.rand((1, 1, *SHAPE), generator=torch.Generator().manual_seed(0))
    theirs, back = HaarWaveletTransform3D(), InverseHaarWaveletTransform3D()
    pairs = {
        "ours": lambda: haar.inverse(haar.forward(x)),
        "BrainMint": lambda: back(theirs(x)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in pairs}
    print(describe())
    with torch.inference_mode():
        for repeat in range(given.repeats + 1):
            for name, run in pairs.items():
                start = time.perf_counter()
                made = run()
                if repeat:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
                else:
                    print(f"{name}: largest error {float((made - x).abs().max()):.2e}")
    for name, times in seconds.items():
        print(f"{name}: median {statistics.median(times):.3f} s of {given.repeats}")
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["BrainMint"], strict=True)]
    print(f"BrainMint / ours: median {statistics.median(ratios):.1f}, least {min(ratios):.1f}")


if __name__ == "__main__":
    main()
