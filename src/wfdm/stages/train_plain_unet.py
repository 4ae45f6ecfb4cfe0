"""Train the plain U-Net of a completion, or continue a training that was interrupted.

A floor of table A1: of the same sessions, subsets and order of draws, in as many steps, it learns
to say the missing latent at once.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Latents, Out, Scans, Splits, Threads, Workers
from wfdm.stages.inputs import files_of, networks_of

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
    from wfdm.data.split_table import encoded_scans
    from wfdm.latents import standard
    from wfdm.training.plain_unet import UNetTask, train_plain_unet
    from wfdm.training.plan import Job

    index = latents.with_name("index.tsv")
    inputs = [*files_of(denoiser), latents, index, scans, splits]
    task = UNetTask(settings.completion, settings.seed, settings.unet, settings.training)
    implementations = networks_of(denoiser.parent)
    with recorded("train-plain-unet", out, settings, inputs, implementations) as record:
        job = Job(out.parent, record.identity, threads=threads, workers=workers)
        record.results = train_plain_unet(
            task,
            denoiser.parent,
            latents.parent,
            encoded_scans(scans, splits, index),
            job,
        )
        record.outputs = [out, *map(out.with_name, ("config.json", "history.csv", standard.FILE))]
