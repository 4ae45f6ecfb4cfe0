"""FID, MMD, MS-SSIM between samples, and how many are of the requested modality (table 4).

What takes long was measured shard by shard before: features and diversity.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out

Settings = reads("seed", "evaluation.resamples")


def run(
    settings: Any,
    real: Annotated[list[Path], "Features of the real test scans; once for each shard."],
    synthetic: Annotated[list[Path], "Features of the samples; once for each shard."],
    pairs: Annotated[list[Path], "MS-SSIM of pairs of samples; once for each shard, in order."],
    out: Out,
) -> None:
    """Write a row per modality, and two for all: pooled as the paper does, and all together."""
    from wfdm.data.table import write_csv
    from wfdm.evaluation.synthesis import synthesis_metrics

    with recorded("synthesis", out, settings, [*real, *synthetic, *pairs]):
        table = synthesis_metrics(real, synthetic, pairs, settings.seed, settings.resamples)
        write_csv(table, out)
