"""Seconds and memory of one full-size pass of each published system, weights drawn afresh.

A pass is a whole volume of HA-GAN, and one answer of a network that a sampler asks as often as the
column tells (MAISI with guidance twice as often). Each NAME of the command line, by default all of
them, adds a row to results/baselines.csv; the weights' values change neither.

    python benchmarks/baselines.py NAME...
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

from wfdm.baselines import (
    hagan_networks,
    ldm_networks,
    maisi_networks,
    med_ddpm_networks,
    wdm_networks,
)
from wfdm.baselines.diffusion_unet import UNet
from wfdm.config.codebooks import AldmQuantised, BrainSynthQuantised
from wfdm.models.compressors.registry import build
from wfdm.models.compressors.uncompressed import SUBBANDS

RESULTS = Path(__file__).parent / "results" / "baselines.csv"
STUDY, STUDY_LATENT = (192, 224, 160), (48, 56, 40)
COLUMNS = ["system", "passes a volume", "seconds a pass", "peak GB", "hardware", "load"]


def hagan(side: int) -> float:
    """Return the seconds of one volume of HA-GAN."""
    network = hagan_networks.Generator(side).eval()
    return _seconds(lambda: network(torch.randn(1, hagan_networks.LATENT)))


def wdm() -> float:
    """Return the seconds of one step of WDM."""
    network, plan = UNet(wdm_networks.PUBLISHED).eval(), wdm_networks.schedule()
    x = torch.randn(1, SUBBANDS, *[wdm_networks.SIDE // 2] * 3)
    return _seconds(lambda: wdm_networks.step(network, plan, 500, x, x))


def med_ddpm() -> float:
    """Return the seconds of one step of Med-DDPM."""
    med = med_ddpm_networks
    network, plan = UNet(med.PUBLISHED).eval(), med.schedule()
    size = med.SIZE[::-1]
    x, given = torch.randn(1, 4, *size), med.planes_of(torch.ones(1, *size))
    return _seconds(lambda: med.step(network, plan, 125, x, given, x))


def ldm() -> float:
    """Return the seconds of one step of LDM, on the latent of a volume of 160 x 224 x 160."""
    network, sides = ldm_networks.unet().eval(), ldm_networks.LATENT_SIDES
    noise = ldm_networks.predicted_noise(network, torch.zeros(1, 1, ldm_networks.CONDITIONS))
    return _seconds(lambda: noise(torch.randn(1, ldm_networks.LATENT, *sides), torch.tensor([500])))


def ldm_decoder() -> float:
    """Return the seconds of LDM's decoder."""
    network, sides = ldm_networks.autoencoder().eval(), ldm_networks.LATENT_SIDES
    return _seconds(lambda: network.decode(torch.randn(1, ldm_networks.LATENT, *sides)))


def maisi() -> float:
    """Return the seconds of one answer of MAISI on the study's latent; guidance asks for two."""
    classes = torch.tensor([maisi_networks.UNKNOWN])
    velocity = maisi_networks.guided(maisi_networks.unet().eval(), classes, (1.0, 1.0, 1.0), 1.0)
    return _seconds(lambda: velocity(torch.randn(1, maisi_networks.LATENT, *STUDY_LATENT), 500.0))


def maisi_decoder() -> float:
    """Return the seconds of MAISI's decoder on the study's latent."""
    network = maisi_networks.autoencoder().eval()
    return _seconds(lambda: network.decode(torch.randn(1, maisi_networks.LATENT, *STUDY_LATENT)))


def reconstruction(settings: AldmQuantised | BrainSynthQuantised) -> float:
    """Return the seconds in which a published compressor encodes and decodes the study's volume."""
    model = build(settings).eval()
    return _seconds(lambda: model.decode(model.encode(torch.rand(1, 1, *STUDY))[0]))


MEASURED = {
    "ha-gan-128": (1, lambda: hagan(128)),
    "ha-gan-256": (1, lambda: hagan(256)),
    "wdm": (wdm_networks.STEPS, wdm),
    "med-ddpm": (med_ddpm_networks.STEPS, med_ddpm),
    "ldm": (50, ldm),
    "ldm, decoder": (1, ldm_decoder),
    "maisi": (30, maisi),
    "maisi, decoder": (1, maisi_decoder),
    "aldm-vqgan, both ways": (1, lambda: reconstruction(AldmQuantised(kind="aldm-vqgan"))),
    "brainsynth-vqvae, both ways": (
        1,
        lambda: reconstruction(BrainSynthQuantised(kind="brainsynth-vqvae")),
    ),
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
