"""What each lever of fast inference gains at the study's size, and how far it is from float32.

    PYTHONPATH=src python -m benchmarks.gpu.levers --out FILE.json [--budget 220] [--reduced]

The study's own generator with random weights, timed by `wfdm.evaluation.timing` (table 6's
protocol): 1 warm-up and as many volumes as the budget allows, at most 10. Rows come in order of
importance, each in the same process, float32 first; error is the relative norm against float32's
volume of the same request. Then the decoder's attention alone, by every fused kernel. FILE is
written again after each row. --reduced is a rehearsal on a CPU.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEGAN = time.monotonic()  # before torch is imported: the budget counts that too

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402

from benchmarks.gpu.full_size.sizes import Sizes, reduced, study  # noqa: E402
from wfdm.accelerator import accelerator  # noqa: E402
from wfdm.atomic import write_text  # noqa: E402
from wfdm.config.generators import InferenceSettings, SamplerSettings  # noqa: E402
from wfdm.errors import UserError  # noqa: E402
from wfdm.evaluation.hardware import hardware  # noqa: E402
from wfdm.evaluation.timing import timed  # noqa: E402
from wfdm.generators import latent_diffusion  # noqa: E402
from wfdm.generators.protocol import Request  # noqa: E402

FAST = {"arithmetic": "bf16", "channels_last": True}
LEVERS: dict[str, dict[str, Any]] = {
    "float32": {"arithmetic": "float32"},
    "bf16, graphs": {"arithmetic": "bf16", "graphs": True},
    "bf16, channels last, compiled, graphs": {**FAST, "compile": True, "graphs": True},
    "bf16": {"arithmetic": "bf16"},
    "tf32 (default)": {"arithmetic": "tf32"},
    "bf16, channels last": FAST,
}
MOST = 10
KERNELS = ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION")


class Report:
    """The JSON file, and the seconds that are left."""

    def __init__(self, out: Path, budget: float, sizes: Sizes) -> None:
        self.out, self.deadline = out, BEGAN + budget
        told = sizes.told()
        self.content: dict[str, Any] = {"hardware": hardware(), "sizes": told, "rows": []}

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def add(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do a row's work and keep it; one that fails or does not fit is told."""
        if self.left < 5:
            told: dict[str, Any] = {"skipped": "out of time"}
        else:
            try:
                told = work()
            except (UserError, RuntimeError) as error:
                told = {"failed": type(error).__name__, "message": str(error)[:300]}
        self.content["rows"].append({"row": name} | told)
        write_text(self.out, json.dumps(self.content, indent=1) + "\n")
        print(json.dumps(self.content["rows"][-1]), flush=True)


def lever(sizes: Sizes, levers: dict[str, Any], report: Report, kept: list[np.ndarray]) -> Any:
    """Time the generator with some levers; `kept` holds float32's first volume."""
    inference = InferenceSettings.model_validate(levers)
    sampling = SamplerSettings(steps=sizes.steps, inference=inference)
    parts = (sizes.denoiser.network, sizes.denoiser.process, sizes.wavelet, sizes.volume)
    began = time.monotonic()
    made = latent_diffusion.untrained("wfdm", sampling, *parts)
    built = time.monotonic() - began
    first: list[np.ndarray] = []

    def make(batch: int, number: int) -> list[np.ndarray]:
        requests = [Request(f"lever-{number}", "T1w", {"age": "60"})]
        found = [sample.volume for sample in made.sample(requests, 0)]
        first.extend(found if not number else [])
        return found

    began = time.monotonic()
    make(1, -1)  # kernels are chosen, graphs recorded, code compiled
    began, _ = time.monotonic(), time.monotonic() - began
    make(1, 0)
    once = time.monotonic() - began
    repeats = max(1, min(MOST, int(report.left / 12 / once)))
    timing = timed(make, 1, repeats).as_dict()
    if not kept:
        kept.extend(first[:1])
    error = float(np.linalg.norm(first[0] - kept[0]) / np.linalg.norm(kept[0]))
    return {"levers": levers, "built_s": round(built, 2), "n": repeats, "error": error} | timing


def attention(sizes: Sizes, kernel: str) -> dict[str, Any]:
    """Time the decoder's attention, one head of all its channels, in bfloat16."""
    tokens, width = int(np.prod(sizes.latent[1:])), sizes.wavelet.channels[1]
    own = torch.Generator().manual_seed(0)
    drawn = torch.randn((3, 1, 1, tokens, width), generator=own)
    q, k, v = drawn.to(accelerator(), torch.bfloat16)

    def make(batch: int, number: int) -> list[np.ndarray]:
        with torch.no_grad(), sdpa_kernel(getattr(SDPBackend, kernel)):
            made = F.scaled_dot_product_attention(q, k, v)
        return [made[0, 0, :1].float().cpu().numpy()]

    timing = timed(make, 2, 5).as_dict()
    operations = 4 * tokens**2 * width
    rate = operations / timing["seconds"]["median"] / 1e12
    return {"tokens": tokens, "width": width, "TFLOP/s": rate} | timing


def main() -> None:
    """Measure all rows that fit into the budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=220)
    parser.add_argument("--reduced", action="store_true")
    given = parser.parse_args()
    sizes = reduced() if given.reduced else study()
    report = Report(given.out, given.budget, sizes)
    kept: list[np.ndarray] = []
    for name in KERNELS:
        report.add(f"attention, {name}", lambda name=name: attention(sizes, name))
    for name, levers in LEVERS.items():
        report.add(name, lambda levers=levers: lever(sizes, levers, report, kept))


if __name__ == "__main__":
    main()
