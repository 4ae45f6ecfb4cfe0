"""Time a generator: warm-ups, then volumes one by one, as the paper's tables 6 and 7 do.

The clock runs from the request to the finished volume in memory; loading and writing are left out.
The result tells the hardware. A time does not depend on what a model has learned, so weights are no
inputs of its record, and a new training of the same architecture measures nothing again; which
weights were timed, the result tells too. Without --source a latent diffusion is timed with random
weights of the study's architectures, before anything is trained.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wfdm.config.reads import reads
from wfdm.errors import UserError
from wfdm.log import log
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Threads
from wfdm.stages.inputs import device

if TYPE_CHECKING:
    from wfdm.evaluation.timing import Make
    from wfdm.generators.protocol import Generator

Settings = reads(
    *("{generator}", "timing", "volume", "preprocess.spacing", "made=generators.{generator}"),
    *("network=denoisers.{denoiser}.network?", "process=denoisers.{denoiser}.process?"),
    "architecture=compressors.{compressor}.architecture?",
)
NEITHER = ("folder", "real", "mean", "reconstruction")
"""kinds that generate nothing while they are asked"""
METADATA = {"age": "60", "sex": "female"}
"""what is asked for; no time depends on it"""
SEED = 0


def run(
    settings: Any,
    out: Out,
    source: Annotated[
        Path | None,
        "What it is made of, as of sample-test; none: random weights.",
    ] = None,
    scan: Annotated[Path | None, "A scan to start from, for a system that needs one."] = None,
    mask: Annotated[Path | None, "A label map, for a system that needs one."] = None,
    threads: Threads = 1,
) -> None:
    """Write the times, with hardware and versions, as JSON."""
    from wfdm.atomic import write_text

    made = settings.made
    if made.kind in NEITHER:
        raise UserError(
            f"generators.{settings.generator}: volumes of kind {made.kind} are not generated when "
            "they are asked for, so there is nothing to time"
        )
    parts = (settings.network, settings.process, settings.architecture)
    implementations = [made.implementation, *(each.implementation for each in parts if each)]
    device(threads)
    with recorded("benchmark", out, settings, [], implementations):
        from wfdm.evaluation.hardware import hardware
        from wfdm.evaluation.timing import throughput, timed

        found = {"hardware": hardware()}  # before the work: the load is the others'
        generator = _generator(settings, source)
        make = _maker(generator, scan, mask)
        timing = timed(make, settings.timing.warm_ups, settings.timing.repeats)
        told = {
            "generator": settings.generator,
            "steps": getattr(made, "steps", None),
            "weights": "random" if source is None else "trained",
            **found,
            "protocol": settings.timing.model_dump(mode="json") | {"batch": 1},
            **timing.as_dict(),
            "throughput": throughput(make, settings.timing.batches),
            "made_by": dict(generator.made_by(_request(generator, 0, scan, mask), SEED)),
        }
        write_text(out, json.dumps(told, indent=1) + "\n")
    where = told["hardware"]
    log.info(f"{settings.generator}: {told['seconds']['mean']:.3f} s a volume on {where['name']}")


def _generator(settings: Any, source: Path | None) -> Generator:
    """Return what is timed, with its models in place."""
    from wfdm.config.baselines import PublishedSystem

    module = import_module(settings.made.implementation)
    if source is not None:
        published = isinstance(settings.made, PublishedSystem)
        grid = (settings.volume, settings.spacing) if published else ()
        return module.of_row(settings.generator, settings.made, source, *grid)
    if settings.network is None or settings.architecture is None:
        raise UserError(
            f"generators.{settings.generator}: only a latent diffusion can be timed with random "
            "weights; give what it is made of as --source"
        )
    models = (settings.network, settings.process, settings.architecture)
    return module.untrained(settings.generator, settings.made, *models, settings.volume.shape)


def _maker(generator: Generator, scan: Path | None, mask: Path | None) -> Make:
    """Return what makes volumes by one call of a generator."""

    def make(batch: int, number: int) -> list:
        names = range(number * batch, (number + 1) * batch)
        requests = [_request(generator, name, scan, mask) for name in names]
        return [sample.volume for sample in generator.sample(requests, SEED)]

    return make


def _request(generator: Generator, name: int, scan: Path | None, mask: Path | None) -> Any:
    from wfdm.generators.protocol import Request

    return Request(f"timing-{name}", generator.modalities[0], METADATA, scan, mask)
