"""What is left: reconstruction of a whole volume, and the channels-last layout of memory."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.full_size.measure import DEVICE, SEED, Row, arithmetic, repeat
from benchmarks.gpu.full_size.sampling import Samples, compressor
from benchmarks.gpu.full_size.sizes import Sizes


def rows(sizes: Sizes) -> list[Row]:
    """Return both, in bf16."""
    told = {"batch": 1, "arithmetic": "bf16"}
    whole = Row("reconstruct, wf-sa-vae, bf16", 8.0, partial(_reconstruct, sizes), told)
    steps = {"steps": sizes.steps, "memory_format": "channels_last_3d"}
    turned = partial(_channels_last, sizes)
    return [whole, Row("sample, wfdm, bf16, channels last", 12.0, turned, told | steps)]


@torch.no_grad()
def _reconstruct(sizes: Sizes, allowed: float) -> dict[str, Any]:
    model = compressor(sizes.wavelet)
    own = torch.Generator().manual_seed(SEED)
    volume = torch.rand((1, 1, *sizes.volume), generator=own).to(DEVICE)

    def encode(v: Tensor) -> Tensor:
        with arithmetic("bf16"):
            return model.encode(v)[0]

    def decode(z: Tensor) -> Tensor:
        with arithmetic("bf16"):
            return model.decode(z).float()

    return repeat({"encode": encode, "decode": decode}, sizes, allowed, volume)


def _channels_last(sizes: Sizes, allowed: float) -> dict[str, Any]:
    samples = Samples(sizes)
    for model in (samples.denoiser(), samples.decoder("wfdm")):
        model.to(memory_format=torch.channels_last_3d)
    samples.noise = samples.noise.to(memory_format=torch.channels_last_3d)
    return samples.measure("wfdm", "bf16", allowed)
