"""Diversity: MS-SSIM between generated volumes of one modality; lower is more diverse."""

from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch

from wfdm.config.volumes import VolumeSettings
from wfdm.data.shards import each_once
from wfdm.data.volumes import load_scan
from wfdm.evaluation.ms_ssim import Scale, ms_ssim, ms_ssim_kernel, scales
from wfdm.evaluation.pairs import SCORE

KEPT = 8
"""volumes kept in memory with their means and variances: at the study's size 94 MB each"""


def score_pairs(
    pairs: pd.DataFrame,
    samples: pd.DataFrame,
    settings: VolumeSettings,
    out: Path,
    identity: str,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Return the pairs with the MS-SSIM of each in a column SCORE.

    The paper's MS-SSIM_ff (2.5.7), medmetric's with the window of `ms_ssim_kernel`.

    Args:
        pairs: as `pairs.pairs_of` returns, or some of them.
        samples: columns scan_id, path, and what else `load_scan` looks at.
        settings: of the tensor that every model sees.
        out: where the table will go; what a killed run scored is kept beside it.
        identity: of settings, inputs and code.
        device: where MS-SSIM is computed.
    """
    ranges = samples["range"] if "range" in samples else [""] * len(samples)
    files = dict(zip(samples["scan_id"], zip(samples["path"], ranges, strict=True), strict=True))
    window = ms_ssim_kernel(settings.shape)

    @lru_cache(KEPT)
    def volume(path: str, given: str) -> list[Scale]:
        array = load_scan({"path": path, "range": given}, settings)
        return scales(torch.from_numpy(array)[None].to(device), window)

    @torch.inference_mode()
    def score(names: str) -> float:
        first, second = names.split("\t")
        return ms_ssim(volume(*files[first]), volume(*files[second]))

    names = list(pairs["first"] + "\t" + pairs["second"])
    scores = [found for _, found in each_once(names, score, out, identity, "pairs")]
    return pairs.assign(**{SCORE: scores})
