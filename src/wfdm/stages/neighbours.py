"""Find the training scan that each sample is nearest to, and each scan that was never trained on.

In latents, in the features that FID takes, and in aligned volumes; among the training scans of its
modality. Without a table of samples the queries are the real scans of validation and test.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Latents, Out, Splits, Volumes
from wfdm.stages.selection import split_volumes

if TYPE_CHECKING:
    from wfdm.audits.neighbours import Compared

Settings = reads("volume", "memorisation.spaces", "memorisation.pool")


def run(
    settings: Any,
    volumes: Volumes,
    splits: Splits,
    latents: Latents,
    out: Out,
    samples: Annotated[Path | None, "Table of samples; none: real scans."] = None,
    encoded: Annotated[list[Path] | None, "Latents of the samples; once for each shard."] = None,
    own: Annotated[list[Path] | None, "Features of the queries; once for each shard."] = None,
    fitted: Annotated[list[Path] | None, "Features of training scans; likewise."] = None,
) -> None:
    """Write a row for each query and space."""
    from wfdm.audits.neighbours import nearest
    from wfdm.data.table import read_table, write_csv
    from wfdm.latents.moments import FILE

    shards, features = encoded or [], [own or [], fitted or []]
    keys = [shard.with_suffix(".tsv") for shard in shards]
    cache = [latents, latents.with_name("index.tsv"), latents.with_name(FILE)]
    given = [*([samples] if samples else []), *shards, *keys, *features[0], *features[1]]
    with recorded("neighbours", out, settings, [volumes, splits, *cache, *given]):
        table = split_volumes(volumes, splits)
        table = table[table["scan_id"].isin(read_table(latents.with_name("index.tsv"))["scan_id"])]
        if samples:
            queries = read_table(samples).assign(split="")
        else:
            queries = table[table["split"].isin(("validation", "test"))]
        compared = _compared(settings, latents.parent, shards, *features)
        write_csv(nearest(queries, table[table["split"] == "train"], compared), out)


def _compared(
    settings: Any, latents: Path, encoded: list[Path], own: list[Path], fitted: list[Path]
) -> dict[str, Compared]:
    """Return how queries and training scans are compared in each of the spaces."""
    from wfdm.audits import neighbours
    from wfdm.audits.memorisation import FEATURE, IMAGE, LATENT

    made = {
        LATENT: lambda: neighbours.latents_of(latents, encoded),
        FEATURE: lambda: neighbours.features_of(own, fitted),
        IMAGE: lambda: neighbours.volumes_of(settings.volume, settings.pool),
    }
    return {space: made[space]() for space in settings.spaces}
