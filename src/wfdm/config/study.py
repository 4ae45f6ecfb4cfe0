"""The study's settings: one model per section, a reason on every default.

`config/config.yaml` and `config/schema.json` are generated from these classes
(`python -m wfdm.config.files`), so the file a person edits and its checks cannot drift apart.
Where a reason says "paper" or "authors' code" the value is published; every other default is
our choice and says why.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Modality = Literal["T1w", "T2w", "T1Gd", "FLAIR"]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Size = tuple[Positive, Positive, Positive]


class Section(BaseModel):
    """Settings are immutable, and an unknown key is an error rather than a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- data -----------------------------------------------------------------------------------


class PhantomDataset(Section):
    """One pseudo-dataset of the phantom cohort."""

    name: str = Field(description="dataset label, letters and digits")
    people: Positive = Field(description="number of people")
    second_sessions: int = Field(0, ge=0, description="how many of them come twice")
    modalities: dict[Modality, Fraction] = Field(
        description="share of sessions that have each contrast; T1w is always there"
    )
    lesions: bool = Field(False, description="people have a lesion that enhances on T1Gd")
    voxel_mm: tuple[Rate, Rate, Rate] = Field(description="acquisition voxel size in mm")


class PhantomSource(Section):
    """A cohort made from a template head: the demo needs no patient."""

    kind: Literal["phantom"]
    template: str = Field("sri24-head", description="asset: the whole head to start from")
    brain: str = Field("sri24", description="asset: the same head, skull-stripped")
    datasets: list[PhantomDataset] = Field(min_length=1)


class BidsSource(Section):
    """Raw BIDS folders on disk."""

    kind: Literal["bids"]
    path: str = Field(description="a BIDS folder, or a folder of BIDS folders (one per dataset)")
    dataset: str | None = Field(
        None, description="label of the dataset; by default the folder's name"
    )


Source = Annotated[PhantomSource | BidsSource, Field(discriminator="kind")]


class SplitSettings(Section):
    """How people are divided."""

    train: Fraction = Field(0.8, description="paper, table 1: 80 %")
    validation: Fraction = Field(0.1, description="paper, table 1: 10 %; the rest is the test set")


class PreprocessSettings(Section):
    """From raw scans to brains on the SRI-24 grid (paper, 2.3)."""

    atlas: str = Field("sri24", description="asset: the skull-stripped SRI-24 T1 (paper)")
    atlas_head: str = Field(
        "sri24-head", description="asset: the whole SRI-24 head, which raw heads are registered to"
    )
    spacing: Rate = Field(1.0, description="grid spacing in mm (paper: 1 mm isotropic)")
    extractor: Literal["hd-bet", "deepbet"] = Field(
        "hd-bet", description="brain extraction (paper: HD-BET); deepbet reads T1w only"
    )
    registration_mm: Rate = Field(
        1.0, description="finest registration level; 1 mm for the study, 2 mm is 15 times faster"
    )
    percentiles: tuple[Fraction, Annotated[float, Field(gt=0, le=100)]] = Field(
        (0.1, 99.9), description="mapped to 0 and 1 over the masked volume (BrainScape)"
    )


class VolumeSettings(Section):
    """The tensor that every model sees."""

    shape: Size = Field((192, 224, 160), description="voxels in R, A, S (paper, 2.3)")
    percentiles: tuple[Fraction, Annotated[float, Field(gt=0, le=100)]] = Field(
        (0.2, 99.6), description="clipping before the mapping to [0, 1] (authors' code)"
    )


# --- compressors ----------------------------------------------------------------------------


class WaveletFusion(Section):
    """WF-VAE and, with attention, WF-SA-VAE (paper, 2.5.1-2.5.2)."""

    kind: Literal["wavelet-fusion"]
    channels: tuple[Positive, Positive] = Field((128, 256), description="authors' code")
    wavelet_channels: Positive = Field(64, description="authors' code")
    latent_channels: Positive = Field(4, description="paper, 2.5.1")
    attention: bool = Field(False, description="self-attention in the bottleneck: WF-SA-VAE")
    norm_groups: Positive = Field(32, description="authors' code")
    haar: Literal["exact", "rounded"] = Field(
        "exact", description="filter entries 1/sqrt(8), or 0.3536 as in the authors' weights"
    )


class HaarTransform(Section):
    """The fixed wavelet references of table 3: nothing is trained."""

    kind: Literal["haar"]
    levels: Literal[1, 2] = Field(description="1: the transform of WDM; 2: a quarter per side")
    haar: Literal["exact", "rounded"] = Field("exact", description="as in wavelet-fusion")


Architecture = Annotated[WaveletFusion | HaarTransform, Field(discriminator="kind")]


class FeatureNetwork(Section):
    """A fixed 3D network whose features compare volumes."""

    depth: Literal[10, 18, 34, 50] = Field(50, description="medmetric's default MedicalNet ResNet")
    weights: str | None = Field(
        "medicalnet-resnet50",
        description="asset with MedicalNet weights; null declares a random stand-in of that depth",
    )
    seed: int = Field(0, description="weights of the stand-in; unused where weights are given")


class PerceptualSettings(Section):
    """The feature reconstruction loss of stage A."""

    network: FeatureNetwork | None = Field(
        FeatureNetwork(depth=10, weights="medicalnet-resnet10"),
        description="the paper names no network; 3D features see 3D structure; null: no term",
    )
    stages: Literal[1, 2, 3, 4] = Field(
        4, description="first stages of the network that count; our choice: all"
    )
    weight: float = Field(0.3, ge=0, description="authors' tests")


class AdversarialSettings(Section):
    """The patch discriminator of stage A."""

    weight: float = Field(0.1, ge=0, description="authors' tests; 0 trains no discriminator")
    channels: Positive = Field(32, description="first layer of MONAI's PatchDiscriminator; MAISI")
    layers: Positive = Field(3, description="MAISI's recipe")
    learning_rate: Rate = Field(1e-4, description="as the compressor's")
    warmup_steps: int = Field(0, ge=0, description="steps without the term; the authors use none")


class CompressorTraining(Section):
    """Stage A (paper, 2.5.6)."""

    steps: Positive = Field(500_000, description="our choice: 28 passes over 35,912 scans")
    batch_size: Positive = Field(2, description="our choice: fits 80 GB at this crop")
    crop: Size = Field((128, 128, 128), description="our choice: MAISI's second training phase")
    learning_rate: Rate = Field(1e-4, description="our choice: MAISI's rate")
    warmup_steps: int = Field(1000, ge=0, description="our choice: linear, then cosine to zero")
    gradient_clip: Rate = Field(1.0, description="our choice: norm; keeps a bad batch harmless")
    kl_weight: float = Field(1.6e-7, ge=0, description="authors' tests; sums over the latent")
    perceptual: PerceptualSettings = PerceptualSettings()
    adversarial: AdversarialSettings = AdversarialSettings()
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "bf16-mixed", description="our choice: float range without loss scaling"
    )
    validate_every: Positive = Field(5000, description="steps; also when the state is kept")
    validation_scans: Positive = Field(256, description="first by seed, the same every time")
    threads: Positive = Field(8, description="of the CPU; there, results depend on their number")


class CompressorSettings(Section):
    """One row of table 3."""

    label: str = Field(description="name in tables and figures, as in the paper")
    architecture: Architecture
    training: CompressorTraining | None = Field(
        None, description="null where nothing is trained (wavelet references)"
    )

    @model_validator(mode="after")
    def _trained_or_fixed(self) -> "CompressorSettings":
        fixed = isinstance(self.architecture, HaarTransform)
        if fixed != (self.training is None):
            raise ValueError(
                "training must be null for kind 'haar' and given for every learned compressor"
            )
        return self


# --- generators -----------------------------------------------------------------------------


class UNetSettings(Section):
    """The denoiser (paper, 2.5.4-2.5.5)."""

    channels: tuple[Positive, ...] = Field(
        (64, 128, 256, 512), description="MAISI's, which the authors' four-level tests match"
    )
    attention: tuple[bool, ...] = Field(
        (False, False, True, True), description="levels with self-attention; MAISI's"
    )
    head_channels: Positive = Field(32, description="channels of one attention head; MAISI's")
    res_blocks: Positive = Field(2, description="authors' code, each level")
    norm_groups: Positive = Field(32, description="authors' code")
    metadata_width: Positive = Field(
        256, description="our choice: width of e_meta, the modality embedding's of MAISI"
    )

    @model_validator(mode="after")
    def _levels_agree(self) -> "UNetSettings":
        if len(self.channels) != len(self.attention):
            raise ValueError("channels and attention must have one entry per level")
        return self


class RectifiedFlow(Section):
    """The paper's final process: straight paths, velocity target (paper, 3.3)."""

    kind: Literal["rflow"]
    reference_voxels: Positive = Field(
        32768, description="latent voxels with no time shift (authors' code: 32**3)"
    )


class DiffusionTraining(Section):
    """Stage B (paper, 2.5.6)."""

    steps: Positive = Field(500_000, description="our choice: 111 passes at batch 8")
    batch_size: Positive = Field(8, description="our choice: latents are small")
    learning_rate: Rate = Field(1e-4, description="our choice")
    warmup_steps: int = Field(1000, ge=0, description="our choice")
    decay_power: Rate = Field(2.0, description="polynomial decay (authors' code); MAISI's power")
    gradient_clip: Rate = Field(1.0, description="our choice")
    loss: Literal["l1", "l2"] = Field("l2", description="paper, table 5: the final model")
    ema_decay: Fraction = Field(0.9999, description="authors' code")
    balance: Fraction = Field(
        0.7, description="modality weight 1/count**balance (authors' code); 0 turns it off"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "bf16-mixed", description="our choice: float range without loss scaling"
    )
    validate_every: Positive = Field(5000, description="steps; also when the state is kept")
    validation_scans: Positive = Field(512, description="first by seed, the same every time")
    threads: Positive = Field(8, description="of the CPU; there, results depend on their number")


class DiffusionSettings(Section):
    """A trained generator: one row of table 4."""

    kind: Literal["diffusion"]
    label: str = Field(description="name in tables and figures, as in the paper")
    compressor: str = Field(description="name of the compressor whose latents it models")
    unet: UNetSettings = UNetSettings()
    process: RectifiedFlow = RectifiedFlow(kind="rflow")
    training: DiffusionTraining = DiffusionTraining()
    sampling_steps: Positive = Field(50, description="paper, table 2")


class NoiseSettings(Section):
    """The floor of table 4: unit noise, decoded. A trained generator must beat it."""

    kind: Literal["noise"]
    label: str = Field(description="name in tables and figures")
    compressor: str = Field(description="name of the compressor that decodes the noise")


GeneratorSettings = Annotated[DiffusionSettings | NoiseSettings, Field(discriminator="kind")]


# --- evaluation -----------------------------------------------------------------------------


class EvaluationSettings(Section):
    """Metrics of tables 3 and 4 (paper, 2.5.7)."""

    features: FeatureNetwork = FeatureNetwork()
    intensity: Literal["zscore-volume", "none"] = Field(
        "zscore-volume", description="before the feature network (medmetric's advice; the paper)"
    )
    diversity_pairs: Positive = Field(
        5000, description="most MS-SSIM pairs per modality (authors' code)"
    )


class FigureSettings(Section):
    """Figures 2 and 3."""

    dpi: Positive = Field(200, description="of the PNG beside each PDF")


class Study(Section):
    """A whole study: a config file with its own results root."""

    study: str = Field("wfdm", description="name of the study, shown in the report")
    seed: int = Field(42, description="every draw derives from it (the authors' split seed)")
    results: str = Field("results", description="where everything that is made goes")
    assets: str = Field("resources/assets", description="where verified downloads are kept")
    sources: list[Source] = Field(
        [BidsSource(kind="bids", path="data/BrainScape")],
        min_length=1,
        description="where the raw scans are; paper: the BrainScape snapshot of 157 datasets",
    )
    split: SplitSettings = SplitSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    volume: VolumeSettings = VolumeSettings()
    compressors: dict[str, CompressorSettings] = Field(
        {
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
        description="the rows of table 3, by name",
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
    cache_mb: int = Field(
        8000, ge=0, description="standardised volumes kept in memory by a loading process, in MB"
    )

    @model_validator(mode="after")
    def _names_resolve(self) -> "Study":
        for name, generator in self.generators.items():
            if generator.compressor not in self.compressors:
                raise ValueError(
                    f"generators.{name}.compressor is '{generator.compressor}', "
                    f"which is not among compressors ({', '.join(self.compressors)})"
                )
        return self
