"""Train the plain U-Net of a completion, or continue a training that was interrupted.

A floor of table A1: of the same sessions, subsets and order of draws, in as many steps, it learns
to say the missing latent at once.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Latents, Out, Scans, Splits, Threads, Workers
from wfdm.stages.inputs import networks_of

Settings = reads(
    "seed",
    "{completion}",
    "completions.{completion}.unet",
    "completions.{completion}.training",
)


def run(
    settings: Any,
    denoiser: Annotated[Path, "model.safetensors of the denoiser that the completion controls."],
    latents: Latents,
    scans: Scans,
    splits: Splits,
    out: Out,
    threads: Threads = 1,
    workers: Workers = 0,
) -> None:
    """Write the folder of a U-Net: weights, configuration, history, resumable state."""
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_scans, read_table, with_split
    from wfdm.latents import standard
    from wfdm.training.plain_unet import UNetTask, train_plain_unet

    index = latents.with_name("index.tsv")
    trained = [denoiser, *map(denoiser.with_name, ("config.json", standard.FILE))]
    inputs = [*trained, latents, index, scans, splits]
    task = UNetTask(settings.completion, settings.seed, settings.unet, settings.training)
    implementations = networks_of(denoiser.parent)
    with recorded("train-plain-unet", out, settings, inputs, implementations) as record:
        table = read_scans(scans).drop(columns="person")
        encoded = table[table["scan_id"].isin(read_table(index)["scan_id"])]
        record.results = train_plain_unet(
            task,
            denoiser.parent,
            latents.parent,
            with_split(encoded, read_splits(splits)),
            out.parent,
            threads,
            workers,
            record.identity,
        )
        record.outputs = [out, *map(out.with_name, ("config.json", "history.csv", standard.FILE))]
