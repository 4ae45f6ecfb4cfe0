"""What is measured: the study's default sizes, or small ones that a CPU runs through."""

from dataclasses import asdict, dataclass
from typing import Any

from wfdm.config.compressors import (
    CompressorTraining,
    MaisiAutoencoder,
    PerceptualSettings,
    WaveletFusion,
)
from wfdm.config.denoisers import DenoiserSettings, UNetSettings
from wfdm.config.features import FeatureSettings
from wfdm.config.generators import DiffusionSettings
from wfdm.config.study import Study


@dataclass(frozen=True)
class Sizes:
    """Models, shapes and the protocol of table 6: warm-ups, then timed repeats at batch 1."""

    volume: tuple[int, int, int]
    wavelet: WaveletFusion
    maisi: MaisiAutoencoder
    denoiser: DenoiserSettings
    steps: int
    stage_a: CompressorTraining
    warm_ups: int
    repeats: int

    @property
    def latent(self) -> tuple[int, int, int, int]:
        """(C, d, h, w); both compressors have the factor 4."""
        depth, height, width = (side // 4 for side in self.volume)
        return self.wavelet.latent_channels, depth, height, width

    def told(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        kept = {
            name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
            for name, value in vars(self).items()
        }
        return asdict(self) | kept | {"latent": self.latent}


def study() -> Sizes:
    """Return the study's defaults."""
    defaults = Study()
    row, generator = defaults.compressors["wf-sa-vae"], defaults.generators["wfdm"]
    assert isinstance(row.architecture, WaveletFusion) and row.training is not None
    assert isinstance(generator, DiffusionSettings)
    return Sizes(
        volume=defaults.volume.shape,
        wavelet=row.architecture,
        maisi=MaisiAutoencoder(kind="maisi"),
        denoiser=defaults.denoisers[generator.denoiser],
        steps=generator.steps,
        stage_a=row.training.model_copy(update={"perceptual": _stand_in(row.training.perceptual)}),
        warm_ups=3,
        repeats=30,
    )


def reduced() -> Sizes:
    """Return sizes at which every row takes a CPU a second or two."""
    full = study()
    small = {"channels": (8, 16), "norm_groups": 8}
    perceptual = full.stage_a.perceptual.model_copy(update={"stages": 1})
    stage_a = {"crop": (32, 32, 32), "precision": "32-true", "perceptual": perceptual}
    unet = UNetSettings(attention=(False, True), head_channels=8, res_blocks=1, **small)
    return Sizes(
        volume=(16, 16, 16),
        wavelet=full.wavelet.model_copy(update={**small, "wavelet_channels": 8}),
        maisi=full.maisi.model_copy(update={"channels": (8, 8, 8), "norm_groups": 8}),
        denoiser=full.denoiser.model_copy(update={"network": unet}),
        steps=2,
        stage_a=full.stage_a.model_copy(update=stage_a),
        warm_ups=1,
        repeats=1,
    )


def _stand_in(settings: PerceptualSettings) -> PerceptualSettings:
    """Replace MedicalNet's weights by random ones: the cost is the same, and no file is needed."""
    network = FeatureSettings(depth=10, weights=None)
    return settings.model_copy(update={"network": network})
