"""Settings of metrics and figures."""

from typing import Literal

from pydantic import Field

from wfdm.config.base import Positive, Section
from wfdm.config.features import FeatureSettings, LpipsSettings

Intensity = Literal["zscore-volume", "zscore-dataset", "none"]


class EvaluationSettings(Section):
    """Metrics of tables 3 and 4 (paper, 2.5.7)."""

    lpips: LpipsSettings | None = Field(
        LpipsSettings(), description="of reconstructions (table 3); null leaves the column empty"
    )
    features: FeatureSettings = FeatureSettings()
    intensity: list[Intensity] = Field(
        ["zscore-volume", "zscore-dataset"],
        min_length=1,
        description="before the feature network (the paper says z-score, not over what): of each "
        "volume by itself, as medmetric advises, or by one mean and deviation per modality over "
        "the training scans, the default of the authors' code; the first one gives FID, MMD and "
        "KID, the others further columns",
    )
    resamples: int = Field(
        100, ge=0, description="our choice: of the 95 % bootstrap intervals; 0: none are made"
    )
    diversity_pairs: Positive = Field(
        5000, description="most MS-SSIM pairs per modality (authors' code)"
    )


class TimingSettings(Section):
    """How generators are timed (paper, 3.4; tables 6 and 7): one volume at a time."""

    warm_ups: Positive = Field(3, description="volumes made before any is timed; paper, 3.4")
    repeats: Positive = Field(30, description="volumes timed, one by one; paper, 3.4")
    batches: list[Positive] = Field(
        [],
        description="volumes asked for at once, three times each, for volumes per second beside "
        "the paper's batch of 1; empty: not measured",
    )


class FigureSettings(Section):
    """The paper's figures."""

    generator: str | None = Field(
        "wfdm", description="figure 1: this generator and its compressor; null draws none"
    )
    dpi: Positive = Field(200, description="of the PNG beside each PDF")
