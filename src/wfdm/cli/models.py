"""Commands that train models and sample from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wfdm.cli import options
from wfdm.config import stages
from wfdm.config.compressors import read_architecture
from wfdm.config.files import parse_json
from wfdm.errors import UserError
from wfdm.provenance.records import recorded

app = typer.Typer()

Latents = Annotated[Path, typer.Option(help="scale.json of the latents.")]
Compressor = Annotated[Path, typer.Option(help="model.safetensors of the compressor.")]


@app.command()
def train_compressor(
    settings: options.Settings,
    volumes: options.Volumes,
    splits: options.Splits,
    out: options.Out,
    threads: options.Threads = 1,
    perceptual: Annotated[
        list[Path] | None, typer.Option(help="Weights of the feature loss; LPIPS: then its heads.")
    ] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="Published weights, where nothing is trained.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of the cache of standardised volumes.")
    ] = None,
    cache_mb: Annotated[int, typer.Option(min=0, help="Most that the cache holds, in MB.")] = 1000,
    workers: Annotated[int, typer.Option(min=0, help="Loading processes.")] = 0,
) -> None:
    """Train a compressor (stage A), or go on where a run that was cut off stood."""
    from wfdm.training.compressor import Files
    from wfdm.training.compressor import train_compressor as train

    stage = parse_json(stages.TrainCompressorStage, settings)
    weights = [*(perceptual or []), *([pretrained] if pretrained else [])]
    inputs = [volumes, splits, *options.verified(stage.assets(), weights)]
    files = Files(out.parent, perceptual or [], pretrained, cache, cache_mb)
    architecture = stage.architecture.implementation
    with recorded("train-compressor", out, stage, inputs, [architecture]) as run:
        table = options.split_volumes(volumes, splits)
        run.results = train(stage, table, files, threads, workers, run.identity)
        run.outputs = [out, out.with_name("config.json"), out.with_name("history.csv")]


@app.command()
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="Weights of BrainMint's WaveletFusionAutoencoder.")],
    out: Annotated[Path, typer.Option(help="Folder of the compressor to make.")],
    norm_groups: Annotated[
        int, typer.Option(min=1, help="Groups of its normalisations; weights do not show them.")
    ] = 32,
) -> None:
    """Make a compressor of the authors' weights: sizes and rounding are read off them."""
    from wfdm.models import import_brainmint, save

    model = out / "model.safetensors"
    with recorded("exchange", model, None, [file]) as run:
        save(out, import_brainmint(file, norm_groups))
        run.outputs = [model, out / "config.json"]


@app.command()
def export_checkpoint(
    folder: Annotated[Path, typer.Argument(help="Folder of a WF-VAE or WF-SA-VAE.")],
    out: Annotated[Path, typer.Option(help="Torch file to make: a plain state dict.")],
) -> None:
    """Write a wavelet-fusion compressor as BrainMint's WaveletFusionAutoencoder loads it."""
    import torch

    from wfdm.atomic import atomic_path
    from wfdm.models import export_brainmint, load
    from wfdm.models.wavelet_fusion import WaveletFusionVAE

    with recorded("exchange", out, None, [folder / "model.safetensors", folder / "config.json"]):
        module = load(folder)
        if not isinstance(module, WaveletFusionVAE):
            raise UserError(f"{folder} holds no wavelet-fusion compressor, so BrainMint has none")
        with atomic_path(out) as temporary:
            torch.save(export_brainmint(module), temporary)


@app.command()
def encode(
    settings: options.Settings,
    compressor: Compressor,
    volumes: options.Volumes,
    shard: options.Shard,
    shards: options.Shards,
    out: options.Out,
    threads: options.Threads = 1,
) -> None:
    """Encode one shard of the scans into the latent cache."""
    from wfdm.data.table import read_table
    from wfdm.training.latents import encode_shard

    stage = parse_json(stages.EncodeStage, settings)
    architecture = read_architecture(compressor.parent).implementation
    with recorded("encode", out, stage, [compressor, volumes], [architecture]) as run:
        table = read_table(volumes)
        encode_shard(compressor.parent, table, shard, shards, stage.volume, out.parent, threads)
        run.outputs = [out, out.with_suffix(".tsv")]


@app.command()
def latents(
    settings: options.Settings,
    compressor: Compressor,
    splits: options.Splits,
    shards: options.Shards,
    out: options.Out,
) -> None:
    """Index the shards of the latent cache; scale factor from the whole training split."""
    from wfdm.data.split import read_splits
    from wfdm.training.latents import merge, shard_path

    stage = parse_json(stages.LatentsStage, settings)
    parts = [shard_path(out.parent, shard, ".npy") for shard in range(shards)]
    with recorded("encode", out, stage, [compressor, splits, *parts]) as run:
        space = merge(
            out.parent, shards, read_splits(splits), compressor.parent, stage.shape, stage.spacing
        )
        run.outputs = [out, out.with_name("scale.json")]
    print(f"latents {space.shape}, scale factor {space.scale:.4f}")


@app.command()
def train_diffusion(
    settings: options.Settings,
    latents: Latents,
    scans: options.Scans,
    splits: options.Splits,
    statistics: Annotated[Path, typer.Option(help="Metadata statistics (JSON).")],
    out: options.Out,
    threads: options.Threads = 1,
    workers: Annotated[int, typer.Option(min=0, help="Loading processes.")] = 0,
) -> None:
    """Train the diffusion model (stage B), or go on where a run that was cut off stood."""
    from wfdm.data.metadata import read_statistics
    from wfdm.data.split import read_splits
    from wfdm.data.table import read_scans, read_table, with_split
    from wfdm.training.diffusion import train_diffusion as train

    stage = parse_json(stages.TrainDiffusionStage, settings)
    index = latents.with_name("index.tsv")
    inputs = [latents, index, scans, splits, statistics]
    with recorded("train-diffusion", out, stage, inputs) as run:
        table = read_scans(scans).drop(columns="person")
        encoded = table[table["scan_id"].isin(read_table(index)["scan_id"])]
        train(
            stage,
            latents.parent,
            with_split(encoded, read_splits(splits)),
            read_statistics(statistics),
            out.parent,
            threads,
            workers,
            run.identity,
        )
        run.outputs = [out, out.with_name("config.json"), out.with_name("history.csv")]


@app.command()
def sample_test(
    settings: options.Settings,
    latents: Latents,
    scans: options.Scans,
    splits: options.Splits,
    volumes: options.Volumes,
    shard: options.Shard,
    shards: options.Shards,
    out: options.Out,
    threads: options.Threads = 1,
    generator: Annotated[Path | None, typer.Option(help="model.safetensors.")] = None,
) -> None:
    """Make one synthetic scan for every test scan of a shard, with its modality and metadata."""
    from wfdm.data.split import read_splits
    from wfdm.data.table import read_scans, read_table, with_split
    from wfdm.sampling.write import sample_shard
    from wfdm.training.latents import read_space

    stage = parse_json(stages.SampleStage, settings)
    architecture = read_architecture(Path(read_space(latents.parent).compressor)).implementation
    inputs = [latents, scans, splits, volumes, *([generator] if generator else [])]
    with recorded("sample", out, stage, inputs, [architecture]) as run:
        table = read_scans(scans).drop(columns="person")
        real = table[table["scan_id"].isin(read_table(volumes)["scan_id"])]
        sample_shard(
            stage,
            generator.parent if generator else None,
            latents.parent,
            with_split(real, read_splits(splits)),
            shard,
            shards,
            out.parent,
            threads,
        )
        run.outputs = [out, *map(Path, read_table(out)["path"])]


@app.command()
def samples(shards: options.Shards, out: options.Out) -> None:
    """List the samples of all shards in one table."""
    import pandas as pd

    from wfdm.data.table import read_table, write_table
    from wfdm.training.latents import shard_path

    parts = [shard_path(out.parent, shard, ".tsv") for shard in range(shards)]
    with recorded("sample", out, None, parts):
        table = pd.concat([read_table(part) for part in parts])
        write_table(table.sort_values("scan_id", ignore_index=True), out)


@app.command()
def sample(
    checkpoint: Annotated[Path, typer.Option(help="Folder of a trained generator.")],
    modality: Annotated[str, typer.Option(help="T1w, T2w, T1Gd or FLAIR.")],
    out: Annotated[Path, typer.Option(help="Folder for the volumes.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many volumes.")] = 1,
    age: Annotated[float | None, typer.Option(help="Years.")] = None,
    sex: Annotated[str | None, typer.Option(help="female, male or other.")] = None,
    field: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, for any other metadata field.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 42,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps.")] = 50,
    threads: options.Threads = 2,
) -> None:
    """Make synthetic scans on request: NIfTI with a BIDS sidecar, labelled synthetic."""
    from wfdm.sampling.write import sample_request

    options.check_modality(modality)
    metadata = dict(entry.partition("=")[::2] for entry in field or [])
    metadata |= {} if age is None else {"age": str(age)}
    metadata |= {} if sex is None else {"sex": sex}
    for path in sample_request(checkpoint, modality, metadata, n, out, seed, steps, threads):
        print(path)
