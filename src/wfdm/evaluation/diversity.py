"""Diversity: MS-SSIM between generated volumes of one modality; lower is more diverse."""

from collections.abc import Sequence
from functools import lru_cache
from math import nan
from pathlib import Path

import numpy as np
import torch
from medmetric.metrics import MS_SSIM

from wfdm.config.volumes import VolumeSettings
from wfdm.evaluation.reconstruction import load_tensor, ms_ssim_kernel
from wfdm.log import progress

KEPT = 32
"""volumes kept in memory: at the study's size under 1 GB"""


def draw_pairs(n: int, most: int, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Draw min(`most`, n(n-1)/2) different pairs i < j of n items, in ascending order.

    A pair's number in the order (0,1), (0,2), ..., (1,2), ... is drawn without replacement.
    """
    total = n * (n - 1) // 2
    numbers = np.sort(generator.choice(total, size=min(most, total), replace=False))
    after = np.cumsum(np.arange(n - 1, 0, -1))  # pairs whose first item is at most i
    first = np.searchsorted(after, numbers, side="right")
    second = numbers - after[first] + n
    return list(zip(first.tolist(), second.tolist(), strict=True))


@torch.inference_mode()
def self_similarity(
    paths: Sequence[Path | str],
    settings: VolumeSettings,
    most: int,
    generator: np.random.Generator,
    device: torch.device | str = "cpu",
) -> tuple[float, int]:
    """Return the mean MS-SSIM over random pairs of volumes, and the number of pairs.

    The paper's MS-SSIM_ff (2.5.7): at most `most` different unordered pairs, by medmetric
    with the window of `ms_ssim_kernel`. NaN and 0 for fewer than two volumes.
    """
    if len(paths) < 2:
        return nan, 0
    metric = MS_SSIM(spatial_dims=3, data_range=1.0, kernel_size=ms_ssim_kernel(settings.shape))

    @lru_cache(KEPT)
    def volume(index: int) -> torch.Tensor:
        return load_tensor(paths[index], settings, device)

    pairs = draw_pairs(len(paths), most, generator)
    scores = [
        float(metric(volume(first), volume(second))) for first, second in progress(pairs, "pairs")
    ]
    return float(np.mean(scores)), len(scores)
