"""What settings of threads and of the allocator are worth on a CPU, on the demo's models.

    python -m benchmarks.cpu_settings [--threads 2] [--rounds 5] [--seconds 3] [--busy 0]

Each round starts a process for every setting in turn, so that what else the machine does meets all
of them alike; `--busy` starts so many processes beside them that keep a core busy. A row is a piece
of work under a setting: the median rate over rounds, and the median of its ratio to that of 10,000
spins in the same round. Written to benchmarks/results/cpu_settings.csv, which tells the load.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks.hardware import describe
from wfdm.config import files

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks/results/cpu_settings.csv"
SPINS = {"GOMP_SPINCOUNT": "10000"}
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
SETTINGS = {
    "10,000 spins": SPINS,
    "1,000 spins": {"GOMP_SPINCOUNT": "1000"},  # what `wfdm` sets
    "100 spins": {"GOMP_SPINCOUNT": "100"},
    "never spins": {"OMP_WAIT_POLICY": "passive"},
    "torch's own (spins long)": {},
    "10,000 spins, glibc keeps pages": {**SPINS, **KEPT},
}
REFERENCE = "10,000 spins"
VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", *KEPT)


def work(threads: int, seconds: float) -> dict[str, float]:
    """Return how often a second each piece of work is done, on the demo's models."""
    import torch

    from wfdm.data.metadata import load_schema
    from wfdm.models.compressors import registry
    from wfdm.models.denoisers.conditions import Conditions
    from wfdm.models.denoisers.unet import Denoiser

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    study = files.read_study(ROOT / "config/config.yaml", ROOT / "config/demo.yaml")
    z = torch.randn(4, 4, 20, 24, 16)
    denoiser = Denoiser(study.denoisers["wfdm"].network, tuple(z.shape[1:]), load_schema())
    compressor = registry.build(study.compressors["wf-sa-vae"].architecture)
    adams = [torch.optim.Adam(model.parameters(), 1e-4) for model in (denoiser, compressor)]
    crop = torch.rand(2, 1, 40, 40, 40)
    volume, t = torch.rand(1, 1, 80, 96, 64), torch.rand(4)
    told = Conditions(torch.zeros(4, dtype=torch.long), torch.zeros(4, 25), torch.ones(4, 25))

    def stage_b() -> None:
        adams[0].zero_grad()
        (denoiser(z, t, told) - z).square().mean().backward()
        adams[0].step()

    def stage_a() -> None:
        adams[1].zero_grad()
        mean, _ = compressor.encode(crop)
        (compressor.decode(mean) - crop).abs().mean().backward()
        adams[1].step()

    @torch.no_grad()
    def encode() -> None:
        compressor.encode(volume)

    @torch.no_grad()
    def step() -> None:
        denoiser(z[:1], t[:1], told[:1])

    pieces = {"stage B step": stage_b, "stage A step": stage_a}
    return {
        name: _rate(piece, seconds)
        for name, piece in {**pieces, "encode": encode, "sampling step": step}.items()
    }


def _rate(piece: Callable[[], None], seconds: float) -> float:
    piece()
    began, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds or not done:
        piece()
        done += 1
    return done / spent


def measured(given: argparse.Namespace) -> pd.DataFrame:
    """Return a row for each piece of work under each setting."""
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(given.rounds):
        for name, variables in SETTINGS.items():
            clean = {key: value for key, value in os.environ.items() if key not in VARIABLES}
            command = [sys.executable, "-m", "benchmarks.cpu_settings", "--one"]
            command += ["--threads", str(given.threads), "--seconds", str(given.seconds)]
            done = subprocess.run(
                command, cwd=ROOT, env=clean | variables, check=True, stdout=subprocess.PIPE
            )
            for piece, rate in json.loads(done.stdout).items():
                found.setdefault((piece, name), []).append(rate)
    rows = []
    for (piece, name), rates in found.items():
        ratios = [a / b for a, b in zip(rates, found[piece, REFERENCE], strict=True)]
        told = {"per second": statistics.median(rates), "ratio": statistics.median(ratios)}
        told |= {"lowest": min(ratios), "highest": max(ratios)}
        rows.append({"work": piece, "setting": name} | {k: f"{v:.3g}" for k, v in told.items()})
    return pd.DataFrame(rows).sort_values(["work", "setting"], kind="stable")


def main() -> None:
    """Measure, and add the rows to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--one", action="store_true", help="the work of one process")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(work(given.threads, given.seconds)))
        return
    beside = [subprocess.Popen([sys.executable, "-c", "while 1: 1"]) for _ in range(given.busy)]
    try:
        table = measured(given)
    finally:
        for each in beside:
            each.kill()
            each.wait()
    table["threads"], table["busy"], table["rounds"] = given.threads, given.busy, given.rounds
    table["load"], table["hardware"] = f"{os.getloadavg()[0]:.1f}", describe()
    OUT.parent.mkdir(exist_ok=True)
    if OUT.is_file():
        table = pd.concat([pd.read_csv(OUT, dtype=str), table.astype(str)])
    table.to_csv(OUT, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
