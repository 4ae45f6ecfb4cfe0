"""The study's settings: one model per section, a reason on every value.

`config/config.yaml` and `config/schema.json` are generated from these classes
(`python -m wfdm.config.document`), so the file a person edits and its checks cannot drift apart.
Where a reason says "paper" or "authors' code" the value is published; every other default is
our choice and says why.
"""

import os
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from wfdm.config import baselines
from wfdm.config.base import NO_NUMBERS, Positive, Section
from wfdm.config.checks import problem
from wfdm.config.codebooks import AldmQuantised, BrainSynthQuantised
from wfdm.config.cohort import (
    BrainScapeSource,
    MetadataSettings,
    PeopleSettings,
    Source,
    SplitSettings,
)
from wfdm.config.completions import CompletionSettings
from wfdm.config.compressors import (
    CompressorSettings,
    CompressorTraining,
    HaarTransform,
    KLAutoencoder,
    MaisiAutoencoder,
    WaveletAutoencoder,
    WaveletFusion,
)
from wfdm.config.controllability import ControllabilitySettings
from wfdm.config.denoisers import DenoiserSettings, DenoiserTraining, DiscreteDiffusionSettings
from wfdm.config.distilled import DistilledSettings, FewStepsSettings
from wfdm.config.evaluation import EvaluationSettings, FigureSettings, TimingSettings
from wfdm.config.gans import GanSettings
from wfdm.config.generators import (
    DiffusionSettings,
    GeneratorSettings,
    MeanSettings,
    NoiseSettings,
    RealSettings,
    ReconstructionSettings,
    SchedulerSettings,
)
from wfdm.config.latent_baselines import LdmSettings, MaisiBrainSettings
from wfdm.config.memorisation import MemorisationSettings
from wfdm.config.preprocess import PreprocessSettings, QualitySettings
from wfdm.config.volumes import VolumeSettings

ROWS = (
    *("compressors", "denoisers", "gans", "generators", "schedulers", "completions"),
    *("controllability", "distilled"),
)
"""sections of named rows"""
SHARED = CompressorTraining()
PLACED = "asset: its authors' weights; the row is left out until they are placed"
COMPRESSORS = {
    "aldm-vqgan": CompressorSettings(
        label="ALDM VQ-GAN", architecture=AldmQuantised(kind="aldm-vqgan"), pretrained="aldm-vqgan"
    ).because(pretrained=PLACED),
    "brainsynth-vqvae": CompressorSettings(
        label="BrainSynth VQ-VAE",
        architecture=BrainSynthQuantised(kind="brainsynth-vqvae"),
        pretrained="brainsynth-vqvae",
    ).because(pretrained=PLACED),
    "ldm-vae": CompressorSettings(
        label="LDM-VAE", architecture=KLAutoencoder(kind="autoencoder-kl"), pretrained="ldm-vae"
    ).because(pretrained=PLACED),
    "vae-gan": CompressorSettings(
        label="VAE-GAN (BrainScape)",
        architecture=MaisiAutoencoder(kind="maisi"),
        training=SHARED,
    ),
    "maisi-vae": CompressorSettings(
        label="MAISI VAE-GAN", architecture=MaisiAutoencoder(kind="maisi"), pretrained="maisi-vae"
    ).because(pretrained=PLACED),
    "wavelet-vae": CompressorSettings(
        label="Wavelet VAE",
        architecture=WaveletAutoencoder(kind="wavelet-vae"),
        training=SHARED,
    ),
    "wf-vae": CompressorSettings(
        label="WF-VAE", architecture=WaveletFusion(kind="wavelet-fusion"), training=SHARED
    ),
    "wf-sa-vae": CompressorSettings(
        label="WF-SA-VAE",
        architecture=WaveletFusion(kind="wavelet-fusion", attention=True).because(
            attention="paper, 2.5.2: this is the -SA-"
        ),
        training=SHARED,
    ),
    "dwt-1": CompressorSettings(
        label="WDM-style DWT (1-stage)", architecture=HaarTransform(kind="haar", levels=1)
    ),
    "dwt-2": CompressorSettings(
        label="DWT reference (2-stage)", architecture=HaarTransform(kind="haar", levels=2)
    ),
}
TABLE_5 = "paper, table 5"


def _ddpm(
    schedule: Literal["cosine", "scaled-linear"], loss: Literal["l1", "l2"]
) -> DenoiserSettings:
    """Return a model of table 5: WFDM, but for its process and its loss."""
    return DenoiserSettings(
        compressor="wf-sa-vae",
        process=DiscreteDiffusionSettings(kind="ddpm", schedule=schedule).because(schedule=TABLE_5),
        training=DenoiserTraining(loss=loss).because(loss=TABLE_5),
    )


def _ancestral(denoiser: str, label: str) -> DiffusionSettings:
    """Return a row of table 5, by the sampler of its process."""
    row = DiffusionSettings(
        kind="diffusion", label=label, denoiser=denoiser, sampler="ancestral", steps=1000
    )
    return row.because(sampler=f"{TABLE_5}: its process's own", steps=TABLE_5)


DENOISERS = {
    "wfdm": DenoiserSettings(compressor="wf-sa-vae"),
    "maisi": DenoiserSettings(compressor="maisi-vae", otherwise="vae-gan").because(
        compressor="the paper's baseline: the same network and training in MAISI's latent space",
        otherwise="the same architecture, trained here, until its authors' weights are placed",
    ),
    "ddpm-cosine-l1": _ddpm("cosine", "l1"),
    "ddpm-cosine-l2": _ddpm("cosine", "l2"),
    "ddpm-scaled-linear-l2": _ddpm("scaled-linear", "l2"),
}
GENERATORS: dict[str, GeneratorSettings] = {
    "wfdm": DiffusionSettings(kind="diffusion", label="WFDM", denoiser="wfdm"),
    "maisi": DiffusionSettings(kind="diffusion", label="MAISI", denoiser="maisi"),
    "ldm": LdmSettings(kind="ldm", label="LDM"),
    "med-ddpm": baselines.MedDdpmSettings(kind="med-ddpm", label="Med-DDPM"),
    "wdm": baselines.WdmSettings(kind="wdm", label="WDM"),
    "ha-gan": baselines.HaganSettings(kind="ha-gan", label="HA-GAN"),
    "maisi-mr-brain": MaisiBrainSettings(kind="maisi-mr-brain", label="MAISI MR-Brain"),
    "ddpm-cosine-l1": _ancestral("ddpm-cosine-l1", "WFDM, DDPM (cosine, l1)"),
    "ddpm-cosine-l2": _ancestral("ddpm-cosine-l2", "WFDM, DDPM (cosine, l2)"),
    "ddpm-scaled-linear-l2": _ancestral("ddpm-scaled-linear-l2", "WFDM, DDPM (scaled-linear, l2)"),
    "real-train": RealSettings(kind="real", label="Real training scans (reference)"),
    "reconstructed": ReconstructionSettings(
        kind="reconstruction", label="Test scans, reconstructed (reference)", compressor="wf-sa-vae"
    ),
    "mean": MeanSettings(kind="mean", label="Mean of the modality (reference)"),
    "noise": NoiseSettings(kind="noise", label="Decoded noise (reference)", compressor="wf-sa-vae"),
}
SCHEDULERS = {
    "ddpm-cosine-l1": SchedulerSettings(generator="ddpm-cosine-l1"),
    "ddpm-cosine-l2": SchedulerSettings(generator="ddpm-cosine-l2"),
    "ddpm-scaled-linear-l2": SchedulerSettings(generator="ddpm-scaled-linear-l2"),
    "rflow-l2": SchedulerSettings(generator="wfdm"),
}


class Study(Section):
    """A whole study: a config file with its own results root."""

    study: str = Field(
        "wfdm", description="name of the study, shown in the report", json_schema_extra=NO_NUMBERS
    )
    seed: int = Field(42, description="every draw derives from it (the authors' split seed)")
    results: str = Field(
        "results", description="where everything that is made goes", json_schema_extra=NO_NUMBERS
    )
    assets: str = Field(
        "resources/assets",
        description="where verified downloads are kept",
        json_schema_extra=NO_NUMBERS,
    )
    sources: list[Source] = Field(
        [
            BrainScapeSource(
                kind="brainscape", path="data/BrainScape", exclude=["AHDC", "SEND", "WRSP"]
            ).because(exclude="they joined BrainScape after the paper's snapshot")
        ],
        min_length=1,
        description="where the scans are; paper: BrainScape",
    )
    people: PeopleSettings = PeopleSettings()
    metadata: MetadataSettings = MetadataSettings()
    split: SplitSettings = SplitSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    quality: QualitySettings = QualitySettings()
    volume: VolumeSettings = VolumeSettings()
    compressor_training: CompressorTraining = Field(
        SHARED, description="stage A, what all compressors share; paper, 2.5.6"
    )
    compressors: dict[str, CompressorSettings] = Field(
        COMPRESSORS, description="the rows of table 3, by name; null removes an inherited one"
    )
    denoisers: dict[str, DenoiserSettings] = Field(
        DENOISERS,
        description="stage B, what is trained; null removes an inherited one",
    )
    gans: dict[str, GanSettings] = Field(
        {},
        description="GANs that are trained too, by name; the paper trains none (docs/baselines.md)",
    )
    generators: dict[str, GeneratorSettings] = Field(
        GENERATORS, description="the rows of table 4, by name; null removes an inherited one"
    )
    schedulers: dict[str, SchedulerSettings] = Field(
        SCHEDULERS,
        description="the rows of table 5, by the paper's key; null removes an inherited one",
    )
    completions: dict[str, CompletionSettings] = Field(
        {},
        description="branches that make missing modalities from those there are, the paper's "
        "future work (5.2), by name; none, unless a file adds one (docs/completion.md)",
    )
    controllability: dict[str, ControllabilitySettings] = Field(
        {},
        description="generators whose control by metadata is measured, the paper's future work "
        "(5.2), by name; none, unless a file adds one (docs/controllability.md)",
    )
    distilled: dict[str, DistilledSettings] = Field(
        {},
        description="denoisers that need few steps, distilled from a trained one, by name; none, "
        "unless a file adds one (docs/few-steps.md)",
    )
    few_steps: FewStepsSettings | None = Field(
        None,
        description="quality against steps, table A4; null: none, unless a file asks for it "
        "(docs/few-steps.md)",
    )
    memorisation: MemorisationSettings | None = Field(
        None,
        description="the audit of memorisation, table A3; null: none, unless a file asks for it "
        "(docs/memorisation.md)",
    )
    evaluation: EvaluationSettings = EvaluationSettings()
    timing: TimingSettings = TimingSettings()
    figures: FigureSettings = FigureSettings()
    shards: Positive = Field(
        64,
        description="our choice: parts of the work on sessions and scans, a cluster job each",
        json_schema_extra=NO_NUMBERS,
    )
    cache_mb: int = Field(
        600_000,
        ge=0,
        description="disk for standardised volumes, in MB (14 each); 0: no cache",
        json_schema_extra=NO_NUMBERS,
    )

    @field_validator("results", "assets")
    @classmethod
    def _at_home(cls, path: str) -> str:
        """Let ~ stand for the home folder, as in a shell."""
        return os.path.expanduser(path)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Drop the rows that a file set to null, and give each training what all share."""
        if not isinstance(given, dict):
            return given
        given = dict(given)
        for rows in ROWS:
            if isinstance(given.get(rows), dict):
                given[rows] = {name: row for name, row in given[rows].items() if row is not None}
        shared = given.get("compressor_training", {})
        compressors = given.get("compressors", _shared_rows() if shared else None)
        if isinstance(compressors, dict):
            given["compressors"] = {
                name: _with_training(row, shared) for name, row in compressors.items()
            }
        return given

    @model_validator(mode="after")
    def _makes_sense(self) -> "Study":
        if found := problem(self):
            raise ValueError(found)
        return self


def _shared_rows() -> dict[str, Any]:
    """Return the default compressors as a file would give them, to be trained as is said there."""
    rows = {}
    for name, row in COMPRESSORS.items():
        shared: dict[str, Any] | None = None if row.training is None else {}
        rows[name] = row.model_dump() | {"label": row.label, "training": shared}
    return rows


def _with_training(row: Any, shared: Any) -> Any:
    own = row.get("training") if isinstance(row, dict) else None
    if not isinstance(own, dict) or not isinstance(shared, dict):
        return row
    return {**row, "training": merged(shared, own)}


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the keys of `over`: mappings merge, everything else replaces."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result
