"""Index the shards of the latent cache; scale factor from the whole training split (2.5.3)."""

from typing import Any

from wfdm.config.reads import reads
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Compressor, Out, Shards, Splits

Settings = reads("volume.shape", "preprocess.spacing")


def run(settings: Any, compressor: Compressor, splits: Splits, shards: Shards, out: Out) -> None:
    """Write index.tsv and scale.json."""
    from wfdm.data.shards import shard_path
    from wfdm.data.split_table import read_splits
    from wfdm.latents.cache import merge

    parts = [shard_path(out.parent, shard, shards, ".npy") for shard in range(shards)]
    keys = [part.with_suffix(".tsv") for part in parts]
    with recorded("latents", out, settings, [compressor, splits, *parts, *keys]) as record:
        table = read_splits(splits)
        space = merge(
            out.parent, shards, table, compressor.parent, settings.shape, settings.spacing
        )
        record.outputs = [out, out.with_name("scale.json")]
    log.info(f"latents {space.shape}, scale factor {space.scale:.4f}")
