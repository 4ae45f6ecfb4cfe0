"""What each stage reads: exactly these keys reach its rule, so an edit reruns nothing else."""

from typing import Literal

from wfdm.config.base import Section, Size
from wfdm.config.compressors import Architecture, CompressorTraining
from wfdm.config.data import PhantomSource, Source, SplitSettings
from wfdm.config.evaluation import FigureSettings
from wfdm.config.features import FeatureNetwork, LpipsNetwork
from wfdm.config.generators import DiffusionTraining, NoiseSettings, RectifiedFlow, UNetSettings
from wfdm.config.preprocess import PreprocessSettings, QualitySettings
from wfdm.config.study import Study
from wfdm.config.volumes import VolumeSettings
from wfdm.errors import UserError


class IndexStage(Section):
    """Settings of `wfdm index`."""

    seed: int
    sources: list[Source]
    age_group_from_age: bool


class PhantomStage(Section):
    """Settings of `wfdm phantom`."""

    seed: int
    source: PhantomSource


class SplitStage(Section):
    """Settings of `wfdm split`."""

    seed: int
    split: SplitSettings
    statistics: Literal["training", "published"]


class ImageHashStage(Section):
    """Settings of `wfdm image-hash`."""

    volume: VolumeSettings


class NearDuplicatesStage(Section):
    """Settings of `wfdm near-duplicates`."""

    near_duplicate: float


class PreprocessStage(Section):
    """Settings of `wfdm preprocess`."""

    seed: int
    preprocess: PreprocessSettings


class QualityStage(Section):
    """Settings of `wfdm quality` and `wfdm volumes`."""

    quality: QualitySettings


class TrainCompressorStage(Section):
    """Settings of `wfdm train-compressor`; training is null where nothing is to learn."""

    seed: int
    name: str
    volume: VolumeSettings
    architecture: Architecture
    training: CompressorTraining | None
    pretrained: str | None = None

    def assets(self) -> list[str]:
        """Return the assets that it reads: of the perceptual network, published weights."""
        perceptual = self.training.perceptual.assets if self.training else []
        return [*perceptual, *filter(None, [self.pretrained])]


class EncodeStage(Section):
    """Settings of `wfdm encode`."""

    volume: VolumeSettings


class LatentsStage(Section):
    """Settings of `wfdm latents`: the space that latents decode to."""

    shape: Size
    spacing: float


class TrainDiffusionStage(Section):
    """Settings of `wfdm train-diffusion`."""

    seed: int
    name: str
    unet: UNetSettings
    process: RectifiedFlow
    training: DiffusionTraining


class SampleStage(Section):
    """Settings of `wfdm sample`; no steps for decoded noise."""

    seed: int
    name: str
    sampling_steps: int | None


class ReconstructionStage(Section):
    """Settings of `wfdm evaluate reconstruction` and `floors`."""

    volume: VolumeSettings
    lpips: LpipsNetwork | None


class FeaturesStage(Section):
    """Settings of `wfdm evaluate features`."""

    volume: VolumeSettings
    network: FeatureNetwork
    intensity: str


class SynthesisStage(Section):
    """Settings of `wfdm evaluate synthesis`."""

    seed: int
    name: str
    volume: VolumeSettings
    diversity_pairs: int


class ArchitectureStage(Section):
    """Settings of `wfdm figures figure1`."""

    label: str
    compressor: str
    volume: VolumeSettings
    architecture: Architecture
    unet: UNetSettings
    sampling_steps: int
    dpi: int


class FigureStage(Section):
    """Settings of `wfdm figures`."""

    seed: int
    volume: VolumeSettings
    figures: FigureSettings


def index(study: Study) -> IndexStage:
    """Return what the index reads."""
    return IndexStage(
        seed=study.seed,
        sources=study.sources,
        age_group_from_age=study.metadata.age_group_from_age,
    )


def split(study: Study) -> SplitStage:
    """Return what the split reads."""
    return SplitStage(seed=study.seed, split=study.split, statistics=study.metadata.statistics)


def _generator(study: Study, name: str):
    if name not in study.generators:
        raise UserError(f"generators: no '{name}'; there is {', '.join(study.generators)}")
    return study.generators[name]


def train_compressor(study: Study, name: str) -> TrainCompressorStage:
    """Return what training of compressor `name` reads."""
    compressor = study.compressors[name]
    return TrainCompressorStage(
        seed=study.seed,
        name=name,
        volume=study.volume,
        architecture=compressor.architecture,
        training=compressor.training,
        pretrained=compressor.pretrained,
    )


def reconstruction(study: Study) -> ReconstructionStage:
    """Return what the evaluation of compressors reads."""
    return ReconstructionStage(volume=study.volume, lpips=study.evaluation.lpips)


def train_diffusion(study: Study, name: str) -> TrainDiffusionStage:
    """Return what training of generator `name` reads."""
    generator = _generator(study, name)
    if isinstance(generator, NoiseSettings):
        raise UserError(f"generators.{name} is of kind 'noise': there is nothing to train")
    return TrainDiffusionStage(
        seed=study.seed,
        name=name,
        unet=generator.unet,
        process=generator.process,
        training=generator.training,
    )


def sample(study: Study, name: str) -> SampleStage:
    """Return what sampling from generator `name` reads."""
    generator = _generator(study, name)
    steps = None if isinstance(generator, NoiseSettings) else generator.sampling_steps
    return SampleStage(seed=study.seed, name=name, sampling_steps=steps)


def architecture(study: Study) -> ArchitectureStage:
    """Return what figure 1 reads."""
    generator = _generator(study, str(study.figures.generator))
    if isinstance(generator, NoiseSettings):
        raise UserError("figures.generator is of kind 'noise'; name a trained generator, or null")
    compressor = study.compressors[generator.compressor]
    return ArchitectureStage(
        label=generator.label,
        compressor=compressor.label,
        volume=study.volume,
        architecture=compressor.architecture,
        unet=generator.unet,
        sampling_steps=generator.sampling_steps,
        dpi=study.figures.dpi,
    )


def synthesis(study: Study, name: str) -> SynthesisStage:
    """Return what the evaluation of generator `name` reads."""
    return SynthesisStage(
        seed=study.seed,
        name=name,
        volume=study.volume,
        diversity_pairs=study.evaluation.diversity_pairs,
    )
