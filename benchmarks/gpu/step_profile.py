"""Where a step of the study's denoiser spends a GPU's time, at batch 1 in bfloat16.

    PYTHONPATH=src python -m benchmarks.gpu.step_profile

Random weights. For both memory layouts, with and without cuDNN's search for the quickest
convolution: milliseconds of a step whose kernels are launched one by one, and as one CUDA graph;
then the slowest kernels. 30 seconds; a GPU only.
"""

import copy
import json
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.full_size.sizes import study
from wfdm.generators.inference import _Graph
from wfdm.generators.latent_diffusion import PUBLISHED, untrained
from wfdm.models.denoisers.conditions import Conditions

REPEATS, KERNELS = 20, 14


def milliseconds(step: Callable[[], object]) -> float:
    """Return the mean time of a step."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(REPEATS):
        step()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began) / REPEATS


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    sizes = study()
    parts = (sizes.denoiser.network, sizes.denoiser.process, sizes.wavelet, sizes.volume)
    denoiser = untrained("wfdm", PUBLISHED, *parts).denoiser
    z = torch.randn(1, *sizes.latent, device="cuda")
    told = denoiser.condition(z.new_full((1,), 0.5), Conditions.of(["T1w"], [{}], None).to("cuda"))
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        network = copy.deepcopy(denoiser).to(torch.bfloat16).to(memory_format=layout)
        given = [z.to(torch.bfloat16, memory_format=layout), told.to(torch.bfloat16)]
        for search in (False, True):
            torch.backends.cudnn.benchmark = search
            for _ in range(3):
                network.answer(*given)
            graph = _Graph(network.answer, given)
            row = {
                "layout": str(layout),
                "cudnn.benchmark": search,
                "eager_ms": milliseconds(partial(network.answer, *given)),
                "graph_ms": milliseconds(partial(graph, given)),
            }
            print(json.dumps(row), flush=True)
            with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
                network.answer(*given)
                torch.cuda.synchronize()
            slowest = sorted(seen.key_averages(), key=lambda each: -each.self_device_time_total)
            for each in slowest[:KERNELS]:
                spent = each.self_device_time_total / 1e3
                print(f"   {spent:8.3f} ms {each.count:4d} {each.key[:110]}", flush=True)


if __name__ == "__main__":
    main()
