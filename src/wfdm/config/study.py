"""The study's settings: one model per section, a reason on every default.

`config/config.yaml` and `config/schema.json` are generated from these classes
(`python -m wfdm.config.files`), so the file a person edits and its checks cannot drift apart.
Where a reason says "paper" or "authors' code" the value is published; every other default is
our choice and says why.
"""

from typing import Any

from pydantic import Field, field_validator, model_validator

from wfdm.config.base import Positive, Section
from wfdm.config.compressors import (
    CompressorSettings,
    CompressorTraining,
    HaarTransform,
    KLAutoencoder,
    MaisiAutoencoder,
    VectorQuantised,
    WaveletAutoencoder,
    WaveletFusion,
)
from wfdm.config.data import (
    BrainScapeSource,
    MetadataSettings,
    PeopleSettings,
    Source,
    SplitSettings,
)
from wfdm.config.evaluation import EvaluationSettings, FigureSettings
from wfdm.config.generators import DiffusionSettings, GeneratorSettings, NoiseSettings
from wfdm.config.preprocess import PreprocessSettings, QualitySettings
from wfdm.config.volumes import VolumeSettings


class Study(Section):
    """A whole study: a config file with its own results root."""

    study: str = Field("wfdm", description="name of the study, shown in the report")
    seed: int = Field(42, description="every draw derives from it (the authors' split seed)")
    results: str = Field("results", description="where everything that is made goes")
    assets: str = Field("resources/assets", description="where verified downloads are kept")
    sources: list[Source] = Field(
        [
            BrainScapeSource(
                kind="brainscape", path="data/BrainScape", exclude=["AHDC", "SEND", "WRSP"]
            )
        ],
        min_length=1,
        description="where the scans are; paper: BrainScape before it took in these three datasets",
    )
    people: PeopleSettings = PeopleSettings()
    metadata: MetadataSettings = MetadataSettings()
    split: SplitSettings = SplitSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    quality: QualitySettings = QualitySettings()
    volume: VolumeSettings = VolumeSettings()
    compressors: dict[str, CompressorSettings] = Field(
        {
            "aldm-vqgan": CompressorSettings(
                label="ALDM VQ-GAN",
                architecture=VectorQuantised(kind="vq-vae"),
                pretrained="aldm-vqgan",
            ),
            "brainsynth-vqvae": CompressorSettings(
                label="BrainSynth VQ-VAE",
                architecture=VectorQuantised(
                    kind="vq-vae",
                    channels=(72, 72, 144),
                    res_layers=3,
                    codes=256,
                    code_channels=256,
                    symmetric=False,
                ),
                pretrained="brainsynth-vqvae",
            ),
            "ldm-vae": CompressorSettings(
                label="LDM-VAE",
                architecture=KLAutoencoder(kind="autoencoder-kl"),
                pretrained="ldm-vae",
            ),
            "vae-gan": CompressorSettings(
                label="VAE-GAN (BrainScape)",
                architecture=MaisiAutoencoder(kind="maisi"),
                training=CompressorTraining(),
            ),
            "maisi-vae": CompressorSettings(
                label="MAISI VAE-GAN",
                architecture=MaisiAutoencoder(kind="maisi"),
                pretrained="maisi-vae",
            ),
            "wavelet-vae": CompressorSettings(
                label="Wavelet VAE",
                architecture=WaveletAutoencoder(kind="wavelet-vae"),
                training=CompressorTraining(),
            ),
            "wf-vae": CompressorSettings(
                label="WF-VAE",
                architecture=WaveletFusion(kind="wavelet-fusion"),
                training=CompressorTraining(),
            ),
            "wf-sa-vae": CompressorSettings(
                label="WF-SA-VAE",
                architecture=WaveletFusion(kind="wavelet-fusion", attention=True),
                training=CompressorTraining(),
            ),
            "dwt-1": CompressorSettings(
                label="WDM-style DWT (1-stage)",
                architecture=HaarTransform(kind="haar", levels=1),
            ),
            "dwt-2": CompressorSettings(
                label="DWT reference (2-stage)",
                architecture=HaarTransform(kind="haar", levels=2),
            ),
        },
        description="the rows of table 3, by name; null removes an inherited one",
    )
    generators: dict[str, GeneratorSettings] = Field(
        {
            "wfdm": DiffusionSettings(kind="diffusion", label="WFDM", compressor="wf-sa-vae"),
            "noise": NoiseSettings(
                kind="noise", label="Decoded noise (reference)", compressor="wf-sa-vae"
            ),
        },
        description="the rows of table 4, by name",
    )
    evaluation: EvaluationSettings = EvaluationSettings()
    figures: FigureSettings = FigureSettings()
    shards: Positive = Field(
        64, description="parts that encoding and sampling are cut into: one cluster job each"
    )
    sessions_per_job: Positive = Field(
        20, description="our choice: preprocessed by one job of a cluster; about 1,600"
    )
    cache_mb: int = Field(
        600_000, ge=0, description="disk for standardised volumes, in MB (14 each); 0: no cache"
    )

    @field_validator("compressors", "generators", mode="before")
    @classmethod
    def _without_removed(cls, rows: Any) -> Any:
        """Drop the rows that a configuration file set to null."""
        if isinstance(rows, dict):
            return {name: row for name, row in rows.items() if row is not None}
        return rows

    @model_validator(mode="after")
    def _names_resolve(self) -> "Study":
        for name, generator in self.generators.items():
            if generator.compressor not in self.compressors:
                raise ValueError(
                    f"generators.{name}.compressor is '{generator.compressor}', "
                    f"which is not among compressors ({', '.join(self.compressors)})"
                )
        return self
