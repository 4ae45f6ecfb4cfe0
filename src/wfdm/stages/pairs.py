"""Let a denoiser carry noises to latents, for one shard of what its student learns from.

Each pair is asked for with the modality and metadata of a training scan, rare modalities more
often. What is made is synthetic, and only a distillation reads it.
"""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Denoiser, Latents, Out, Scans, Shard, Shards, Splits, Threads
from wfdm.stages.inputs import device, files_of, models_behind

Settings = reads(
    "seed",
    "{distilled}",
    "distilled.{distilled}.pairs",
    "distilled.{distilled}.sampling",
    "distilled.{distilled}.training.balance",
)


def run(
    settings: Any,
    denoiser: Denoiser,
    scans: Scans,
    splits: Splits,
    latents: Latents,
    shard: Shard,
    shards: Shards,
    out: Out,
    threads: Threads = 1,
) -> None:
    """Write shard-NNNN.npy and its table."""
    from wfdm.data.split_table import encoded_scans
    from wfdm.generators.latent_diffusion import load
    from wfdm.generators.pairs import draw_pairs, write_pairs
    from wfdm.training.splits import of_split

    index = latents.with_name("index.tsv")
    inputs = [*files_of(denoiser), index, scans, splits]
    with recorded("pairs", out, settings, inputs, models_behind(denoiser.parent)) as record:
        device(threads)
        teacher = load(denoiser.parent, settings.sampling)
        training = of_split(encoded_scans(scans, splits, index), "train")
        known = training[training["modality"].isin(teacher.modalities)]
        draw = (settings.balance, settings.seed, settings.distilled)
        asked = draw_pairs(known, settings.pairs, *draw)
        write_pairs(teacher, asked, settings.seed, shard, shards, out.parent, record.identity)
        record.outputs = [out, out.with_suffix(".tsv")]
