"""What can be known to be wrong before anything runs: names, labels, and sizes that do not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wfdm.config.compressors import FIXED, CompressorSettings
from wfdm.config.denoisers import UNetSettings
from wfdm.config.distilled import denoiser_of
from wfdm.config.generators import (
    DiffusionSettings,
    FolderSettings,
    NoiseSettings,
    ReconstructionSettings,
    TrainedGanSettings,
)

if TYPE_CHECKING:
    from wfdm.config.study import Study

SMALLEST = 48  # voxels a side: MS-SSIM has five scales with a window of 3


def problem(study: Study) -> str | None:
    """Return the first thing that cannot work, naming its key; None when all is well."""
    first = (_spelling, _distilled, _names, _labels, _volumes)
    checks = (
        *first,
        _crops,
        _latents,
        _cubes,
        _samplers,
        _completions,
        _few_steps,
        _controlled,
        _memorisation,
        _intensities,
    )
    return next((found for check in checks for found in check(study)), None)


def _spelling(study: Study) -> Iterator[str]:
    """Names of rows become names of folders, and parts of patterns."""
    folders = ("compressors", "denoisers", "gans", "generators", "schedulers", "completions")
    for section in (*folders, "distilled"):
        for name in getattr(study, section):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                yield f"{section}: '{name}' names a folder: use letters, digits, - and _ only"


def _names(study: Study) -> Iterator[str]:
    for name, denoiser in study.denoisers.items():
        yield from _known(study.compressors, denoiser.compressor, f"denoisers.{name}.compressor")
        if denoiser.otherwise is not None:
            where = f"denoisers.{name}.otherwise"
            yield from _known(study.compressors, denoiser.otherwise, where)
    yield from _generators(study)
    for name, scheduler in study.schedulers.items():
        yield from _diffusion(study, scheduler.generator, f"schedulers.{name}.generator")
    if study.figures.generator is not None:
        drawn = study.figures.generator
        yield from _diffusion(study, drawn, "figures.generator")
        row = study.generators[drawn]
        assert isinstance(row, DiffusionSettings)
        if not isinstance(denoiser_of(study, row.denoiser).network, UNetSettings):
            yield f"figures.generator: figure 1 shows a U-Net of kind unet; '{drawn}' has another"


def _generators(study: Study) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, generator in study.generators.items():
        if name == "real":
            yield "generators.real: 'real' stands for the test scans; give it another name"
        if isinstance(generator, DiffusionSettings):
            where = f"generators.{name}.denoiser"
            yield from _known(study.denoisers | study.distilled, generator.denoiser, where)
        if isinstance(generator, DiffusionSettings | FolderSettings):
            # Their volumes do not hang on the row's name, as the noise of a GAN does.
            twin = seen.setdefault(generator.model_dump_json(exclude={"label"}), name)
            if twin != name:
                others = ", or give it draw: 2 for others" if generator.kind == "diffusion" else ""
                yield (
                    f"generators.{name}: makes the very samples of {twin}; remove it (null){others}"
                )
        if isinstance(generator, TrainedGanSettings):
            yield from _known(study.gans, generator.gan, f"generators.{name}.gan")
        if isinstance(generator, NoiseSettings | ReconstructionSettings):
            where = f"generators.{name}.compressor"
            yield from _known(study.compressors, generator.compressor, where)


def _diffusion(study: Study, name: str, where: str) -> Iterator[str]:
    yield from _known(study.generators, name, where)
    if not isinstance(study.generators[name], DiffusionSettings):
        yield f"{where}: '{name}' has no denoiser; name another, or null"


def _known(rows: Mapping[str, Any], name: str, where: str) -> Iterator[str]:
    if name not in rows:
        yield f"{where}: there is no '{name}'; there is {', '.join(rows) or 'none'}"


def _labels(study: Study) -> Iterator[str]:
    for section in ("compressors", "generators", "completions"):
        seen: dict[str, str] = {}
        for name, row in getattr(study, section).items():
            label = row.label or name
            if label in seen:
                yield f"{section}.{name}.label: '{label}' is also the label of {seen[label]}"
            seen[label] = name


def _volumes(study: Study) -> Iterator[str]:
    if min(study.volume.shape) < SMALLEST:
        yield (
            f"volume.shape: MS-SSIM has five scales and cannot judge {study.volume.shape}; "
            f"make every side at least {SMALLEST} voxels"
        )
    for name, compressor in study.compressors.items():
        factor = compressor.architecture.factor
        # A published one is left out where its file is not placed: it says so when it is used.
        if not compressor.pretrained and any(side % factor for side in study.volume.shape):
            yield (
                f"volume.shape: {study.volume.shape} must be multiples of {factor}, by which "
                f"compressors.{name} divides each side"
            )


def _crops(study: Study) -> Iterator[str]:
    for name, compressor in study.compressors.items():
        if compressor.training is not None:
            yield from _crop(study, name, compressor)


def _crop(study: Study, name: str, compressor: CompressorSettings) -> Iterator[str]:
    assert compressor.training is not None
    crop, factor = compressor.training.crop, compressor.architecture.factor
    sides = zip(crop, study.volume.shape, strict=True)
    if any(side > whole or side % factor for side, whole in sides):
        yield (
            f"compressors.{name}.training.crop: {crop} must fit into volume.shape "
            f"{study.volume.shape} and be multiples of {factor}"
        )


def _latents(study: Study) -> Iterator[str]:
    for name, denoiser in study.denoisers.items():
        either = filter(None, (denoiser.compressor, denoiser.otherwise))
        for factor in {study.compressors[each].architecture.factor for each in either}:
            latent = tuple(side // factor for side in study.volume.shape)
            if any(side % denoiser.network.divisor for side in latent):
                levels = len(denoiser.network.channels)
                yield (
                    f"denoisers.{name}.network.channels: {levels} levels need latent sides that "
                    f"divide by {denoiser.network.divisor}, but the latent is {latent}: use fewer "
                    "levels"
                )


def _cubes(study: Study) -> Iterator[str]:
    for name, gan in study.gans.items():
        if max(study.volume.shape) > gan.network.side:
            yield (
                f"gans.{name}.network.side: a cube of {gan.network.side} does not hold "
                f"volume.shape {study.volume.shape}"
            )


def _samplers(study: Study) -> Iterator[str]:
    for name, generator in study.generators.items():
        if isinstance(generator, DiffusionSettings):
            denoiser = denoiser_of(study, generator.denoiser)
            dropout = denoiser.training.conditioning_dropout
            if found := generator.misfit(denoiser.process, dropout):
                yield f"generators.{name}.{found}"
            compressor = study.compressors[denoiser.compressor].architecture
            if generator.clamp and not isinstance(compressor, FIXED):
                yield (
                    f"generators.{name}.clamp: compressor '{denoiser.compressor}' loses something "
                    "each time; only of one without weights can each step be clamped"
                )


def _completions(study: Study) -> Iterator[str]:
    for name, row in study.completions.items():
        where = f"completions.{name}"
        yield from _known(study.denoisers, row.denoiser, f"{where}.denoiser")
        denoiser = study.denoisers[row.denoiser]
        if not isinstance(denoiser.network, UNetSettings):
            yield f"{where}.denoiser: a branch controls a U-Net of kind unet; name another denoiser"
        if found := row.sampling.exact.misfit(denoiser.process, 0):
            yield f"{where}.sampling.{found}"


def _distilled(study: Study) -> Iterator[str]:
    for name, row in study.distilled.items():
        where = f"distilled.{name}"
        if name in study.denoisers:
            yield f"{where}: denoisers.{name} has its folder already; give it another name"
        yield from _known(study.denoisers, row.denoiser, f"{where}.denoiser")
        teacher = study.denoisers[row.denoiser]
        if teacher.process.kind != "rflow":
            yield (
                f"{where}.denoiser: '{row.denoiser}' is of process {teacher.process.kind}; reflow "
                "straightens a rectified flow: name a denoiser of process rflow"
            )
        if found := row.sampling.misfit(teacher.process, teacher.training.conditioning_dropout):
            yield f"{where}.sampling.{found}"


def _few_steps(study: Study) -> Iterator[str]:
    if study.few_steps is not None:
        where, asked = "few_steps", study.few_steps
        yield from _known(study.denoisers, asked.denoiser, f"{where}.denoiser")
        if found := asked.reference.exact.misfit(study.denoisers[asked.denoiser].process, 0):
            yield f"{where}.reference.{found}"


def _controlled(study: Study) -> Iterator[str]:
    for name in study.controllability:
        yield from _diffusion(study, name, f"controllability.{name}")


def _memorisation(study: Study) -> Iterator[str]:
    if study.memorisation is not None:
        where = "memorisation.compressor"
        yield from _known(study.compressors, study.memorisation.compressor, where)


def _intensities(study: Study) -> Iterator[str]:
    given = study.evaluation.intensity
    if twice := [name for name in given if given.count(name) > 1]:
        yield f"evaluation.intensity: '{twice[0]}' is given twice; keep one"
