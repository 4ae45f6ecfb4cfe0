"""Index the shards of the latent cache; scale factor from the whole training split (2.5.3)."""

from typing import Any

from wfdm.config.reads import reads
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Compressor, Out, Shards, Splits, Volumes

Settings = reads("volume.shape", "preprocess.spacing")


def run(
    settings: Any,
    compressor: Compressor,
    volumes: Volumes,
    splits: Splits,
    shards: Shards,
    out: Out,
) -> None:
    """Write index.tsv, scale.json and moments.safetensors."""
    from wfdm.data.shards import shard_path
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_table
    from wfdm.latents.cache import merge
    from wfdm.latents.moments import FILE

    parts = [shard_path(out.parent, shard, shards, ".npy") for shard in range(shards)]
    keys = [part.with_suffix(".tsv") for part in parts]
    with recorded("latents", out, settings, [compressor, volumes, splits, *parts, *keys]) as record:
        modalities = read_table(volumes)[["scan_id", "modality"]]
        scans = read_splits(splits).merge(modalities, on="scan_id")
        space = merge(
            out.parent, shards, scans, compressor.parent, settings.shape, settings.spacing
        )
        record.outputs = [out, out.with_name("scale.json"), out.with_name(FILE)]
    log.info(f"latents {space.shape}, scale factor {space.scale:.4f}")
