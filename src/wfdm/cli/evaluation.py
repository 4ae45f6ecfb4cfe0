"""Commands that measure: reconstruction, features, realism and diversity."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wfdm.cli import options
from wfdm.config import stages
from wfdm.config.compressors import read_architecture
from wfdm.config.files import parse_json
from wfdm.provenance.records import recorded

app = typer.Typer(help="Metrics: per scan, then per modality.", no_args_is_help=True)


@app.command()
def floors(
    settings: options.Settings,
    volumes: options.Volumes,
    splits: options.Splits,
    means: Annotated[Path, typer.Option(help="Mean volumes to write (safetensors).")],
    out: options.Out,
    threads: options.Threads = 1,
    lpips: options.Lpips = None,
) -> None:
    """Mean volumes of the training split, and what they score as reconstructions."""
    from wfdm.evaluation.floors import mean_volume_rows, mean_volumes
    from wfdm.evaluation.reconstruction import load_lpips
    from wfdm.evaluation.tables import write_csv

    stage = parse_json(stages.ReconstructionStage, settings)
    files = options.verified(stage.lpips.assets if stage.lpips else [], lpips)
    with recorded("floors", out, stage, [volumes, splits, *files]) as run:
        device = options.device(threads)
        network = load_lpips(stage.lpips, files, device)
        table = options.split_volumes(volumes, splits)
        found = mean_volumes(table[table["split"] == "train"], stage.volume, means)
        test = table[table["split"] == "test"]
        write_csv(mean_volume_rows(found, test, stage.volume, threads, device, network), out)
        run.outputs = [out, means]


@app.command()
def reconstruction(
    settings: options.Settings,
    compressor: Annotated[Path, typer.Option(help="model.safetensors of the compressor.")],
    volumes: options.Volumes,
    splits: options.Splits,
    out: options.Out,
    threads: options.Threads = 1,
    lpips: options.Lpips = None,
) -> None:
    """Reconstruct every test scan and compare."""
    from wfdm.evaluation.reconstruction import evaluate_compressor, load_lpips
    from wfdm.evaluation.tables import write_csv

    stage = parse_json(stages.ReconstructionStage, settings)
    files = options.verified(stage.lpips.assets if stage.lpips else [], lpips)
    inputs = [compressor, volumes, splits, *files]
    architecture = read_architecture(compressor.parent).implementation
    with recorded("reconstruction", out, stage, inputs, [architecture]):
        device = options.device(threads)
        network = load_lpips(stage.lpips, files, device)
        table = options.split_volumes(volumes, splits)
        test = table[table["split"] == "test"]
        found = evaluate_compressor(compressor.parent, test, stage.volume, threads, device, network)
        write_csv(found, out)


@app.command()
def features(
    settings: options.Settings,
    volumes: options.Volumes,
    splits: options.Splits,
    out: options.Out,
    threads: options.Threads = 1,
    weights: Annotated[Path | None, typer.Option(help="Weights of the feature network.")] = None,
) -> None:
    """Features of the test scans, real or synthetic, by the declared network."""
    from wfdm.evaluation.features import extract

    stage = parse_json(stages.FeaturesStage, settings)
    inputs = [volumes, splits, *([weights] if weights else [])]
    with recorded("features", out, stage, inputs):
        device = options.device(threads)
        table = options.split_volumes(volumes, splits)
        test = table[table["split"] == "test"]
        extract(test, stage.network, weights, stage.intensity, stage.volume, out, threads, device)


@app.command()
def synthesis(
    settings: options.Settings,
    real: Annotated[Path, typer.Option(help="Features of the real test scans.")],
    synthetic: Annotated[Path, typer.Option(help="Features of the samples.")],
    samples: options.Volumes,
    means: Annotated[Path, typer.Option(help="Mean volumes of the training split.")],
    out: options.Out,
    threads: options.Threads = 1,
) -> None:
    """FID, MMD, MS-SSIM between samples, and how many are of the requested modality."""
    from wfdm.data.table import read_table
    from wfdm.evaluation.synthesis import synthesis_metrics
    from wfdm.evaluation.tables import write_csv

    stage = parse_json(stages.SynthesisStage, settings)
    with recorded("synthesis", out, stage, [real, synthetic, samples, means]):
        device = options.device(threads)
        found = synthesis_metrics(
            real,
            synthetic,
            read_table(samples),
            means,
            stage.diversity_pairs,
            stage.volume,
            stage.seed,
            stage.name,
            threads,
            device,
        )
        write_csv(found, out)
