"""FID, MMD, MS-SSIM between samples, and how many are of the requested modality (table 4)."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Threads, Volumes
from wfdm.stages.inputs import device

Settings = reads("seed", "{generator}", "volume", "evaluation.diversity_pairs")


def run(
    settings: Any,
    real: Annotated[list[Path], "Features of the real test scans; once for each shard."],
    synthetic: Annotated[list[Path], "Features of the samples; once for each shard."],
    samples: Volumes,
    means: Annotated[Path, "Mean volumes of the training split."],
    out: Out,
    threads: Threads = 1,
) -> None:
    """Write a row per modality, and one that pools them."""
    from wfdm.data.table import read_table, write_csv
    from wfdm.evaluation.synthesis import synthesis_metrics

    with recorded("synthesis", out, settings, [*real, *synthetic, samples, means]):
        found = synthesis_metrics(
            real,
            synthetic,
            read_table(samples),
            means,
            settings.diversity_pairs,
            settings.volume,
            settings.seed,
            settings.generator,
            device(threads),
        )
        write_csv(found, out)
