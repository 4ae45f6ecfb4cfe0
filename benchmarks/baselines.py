"""Seconds and memory of one full-size pass of each published system, weights drawn afresh.

A pass is a whole volume of HA-GAN, and one of the steps of a sampler of WDM (1000) and Med-DDPM
(250). `python benchmarks/baselines.py NAME...` adds a row for each to results/baselines.csv; the
weights' values change neither.
"""

import csv
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from hardware import describe

from wfdm.baselines import hagan_networks, med_ddpm_networks, wdm_networks
from wfdm.baselines.diffusion_unet import UNet

RESULTS = Path(__file__).parent / "results" / "baselines.csv"
COLUMNS = ["system", "passes a volume", "seconds a pass", "peak GB", "hardware", "load"]


def hagan(side: int) -> float:
    """Return the seconds of one volume of HA-GAN."""
    network = hagan_networks.Generator(side).eval()
    return _seconds(lambda: network(torch.randn(1, hagan_networks.LATENT)))


def wdm() -> float:
    """Return the seconds of one step of WDM."""
    network, plan = UNet(wdm_networks.PUBLISHED).eval(), wdm_networks.schedule()
    x = torch.randn(1, wdm_networks.SUBBANDS, *[wdm_networks.SIDE // 2] * 3)
    return _seconds(lambda: wdm_networks.step(network, plan, 500, x, x))


def med_ddpm() -> float:
    """Return the seconds of one step of Med-DDPM."""
    med = med_ddpm_networks
    network, plan = UNet(med.PUBLISHED).eval(), med.schedule()
    size = med.SIZE[::-1]
    x, given = torch.randn(1, 4, *size), med.planes_of(torch.ones(1, *size))
    return _seconds(lambda: med.step(network, plan, 125, x, given, x))


MEASURED = {
    "ha-gan-128": (1, lambda: hagan(128)),
    "ha-gan-256": (1, lambda: hagan(256)),
    "wdm": (wdm_networks.STEPS, wdm),
    "med-ddpm": (med_ddpm_networks.STEPS, med_ddpm),
}


@torch.inference_mode()
def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(name: str) -> None:
    """Add one row; the peak is this whole process's, weights included."""
    passes, work = MEASURED[name]
    seconds = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    row = [name, passes, f"{seconds:.2f}", f"{peak:.2f}", describe(), f"{os.getloadavg()[0]:.1f}"]
    fresh = not RESULTS.exists()
    with open(RESULTS, "a", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([COLUMNS, row] if fresh else [row])


if __name__ == "__main__":
    names = sys.argv[1:] or list(MEASURED)
    if len(names) == 1:
        measure(names[0])
    else:  # each in a process of its own: its peak is then its own
        for name in names:
            subprocess.run([sys.executable, __file__, name], check=True)
