"""The measured rates, and the seconds on a GPU that follow from them."""

import json
import re
from functools import cached_property
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

RESULTS = Path(__file__).with_name("results")


class Rates:
    """Rates by their name in results/rates.csv; seconds of an H100 by their row.

    What was not measured is NaN, and so is what follows from it.
    """

    def __init__(self) -> None:
        self.table = pd.read_csv(RESULTS / "rates.csv").set_index("name")
        measured = json.loads((RESULTS / "gpu/full_size.json").read_text())["rows"]
        self.h100 = {
            row["row"]: {part: told["median"] for part, told in row["seconds"].items()}
            for row in measured
            if isinstance(row.get("seconds"), dict)
        }

    def _of(self, name: str, column: str) -> float:
        return float(self.table[column].get(name, nan))

    def cpu(self, name: str) -> float:
        """Return the CPU-seconds of an item."""
        return self._of(name, "cpu_s")

    def start(self, name: str) -> float:
        """Return the CPU-seconds of a job besides its items."""
        return self._of(name, "start_cpu_s")

    def mb(self, *names: str) -> float:
        """Return the largest of some peaks of memory, in MB."""
        return float(np.max([self._of(name, "peak_mb") for name in names]))

    def disk(self, name: str) -> float:
        """Return the MB that an item leaves on disk."""
        return self._of(name, "written_mb")

    def workers(self, count: int) -> float:
        """Return the MB of a training: a model's process, and workers that load."""
        return self.model_mb + count * self.mb("load")

    @cached_property
    def model_mb(self) -> float:
        """MB of WF-VAE encoding and decoding on a CPU: on a GPU most of it lies there."""
        return 1024 * self._reconstruction[1]

    @cached_property
    def _reconstruction(self) -> tuple[float, float]:
        """CPU-seconds (two threads) and GB of WF-VAE encoding and decoding a volume."""
        text = (RESULTS / "full_resolution.txt").read_text()
        (found,) = re.findall(r"reconstruction: ([\d.]+) s, ([\d.]+) GB", text)
        (threads,) = re.findall(r"(\d+) threads", text)
        return int(threads) * float(found[0]), float(found[1])

    @cached_property
    def decode(self) -> float:
        """GPU-seconds of decoding a volume, in TF32."""
        return self.h100["sample, wfdm, tf32"]["decode"]

    @cached_property
    def encode(self) -> float:
        """GPU-seconds of encoding one: timed in bfloat16, where decoding was timed in both."""
        halves = self.h100["reconstruct, wf-sa-vae, bf16"]
        return halves["encode"] * self.decode / halves["decode"]

    @cached_property
    def step(self) -> float:
        """GPU-seconds of one of 50 sampling steps, in TF32."""
        return self.h100["sample, wfdm, tf32"]["denoise"] / 50

    @cached_property
    def gain(self) -> float:
        """CPU-seconds per GPU-second, or more: WF-VAE's on the CPU over WF-SA-VAE's on the H100.

        The latter does all that the former does, and attention besides.
        """
        return self._reconstruction[0] / (self.encode + self.decode)

    def on_gpu(self, name: str, loads: int) -> float:
        """Return the GPU-seconds of an item that was timed on a CPU alone, without its loading."""
        return (self.cpu(name) - loads * self.cpu("load")) / self.gain
