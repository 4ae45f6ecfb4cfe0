"""Compare a shard of completed scans with the real ones, inside the brain and inside lesions.

Beside the completion stand its floors: a plain U-Net where one was trained, the scan of the nearest
training session, and the mean training volume of the modality; and its ceiling, the scan itself
through the compressor.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Latents, Out, Splits, Threads, Volumes
from wfdm.stages.inputs import architecture_of, device
from wfdm.stages.selection import split_volumes

Settings = reads("volume", "completions.{completion}.lesions")


def run(
    settings: Any,
    completed: Annotated[Path, "A shard's table of completed test scans."],
    latents: Latents,
    means: Annotated[Path, "Mean volumes of the training split."],
    volumes: Volumes,
    splits: Splits,
    out: Out,
    threads: Threads = 1,
    unet: Annotated[
        Path | None, "model.safetensors of the plain U-Net, where there is one."
    ] = None,
) -> None:
    """Write a row for each completed scan and floor."""
    from wfdm.data.mean_volumes import read_means
    from wfdm.data.table import read_table, write_csv
    from wfdm.evaluation.completion import Truth, lesion_of, nearest_of, score, session_of
    from wfdm.evaluation.decoded import Decoded
    from wfdm.latents import standard
    from wfdm.latents.space import read_space

    made = read_table(completed)
    folder = Path(settings.lesions).expanduser() if settings.lesions else None
    found = [lesion_of(folder, scan_id) for scan_id in sorted(set(made["scan_id"]))]
    lesions = sorted({path for path in found if path})
    compressor = Path(read_space(latents.parent).compressor) / "model.safetensors"
    trained = [compressor]
    if unet:
        trained += [unet, *map(unet.with_name, ("config.json", standard.FILE))]
    cached = [latents, latents.with_name("index.tsv")]
    inputs = [completed, *cached, *trained, means, volumes, splits, *lesions]
    implementations = [architecture_of(compressor)]
    with recorded("completion-metrics", out, settings, inputs, implementations) as record:
        where = device(threads)
        table = split_volumes(volumes, splits)
        asking = table[table["scan_id"].map(session_of).isin(made["scan_id"].map(session_of))]
        truth = Truth(
            paths=dict(zip(table["scan_id"], table["path"], strict=True)),
            means=read_means(means),
            nearest=nearest_of(latents.parent, table[table["split"] == "train"], asking),
            decoded=Decoded.of(latents.parent, unet.parent if unet else None, where),
            lesions=folder,
            settings=settings.volume,
            device=where,
        )
        write_csv(score(made, truth, out, record.identity), out)
