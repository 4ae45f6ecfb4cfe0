"""Settings of metrics and figures."""

from typing import Literal

from pydantic import Field

from wfdm.config.base import Positive, Section
from wfdm.config.features import FeatureSettings, LpipsSettings


class EvaluationSettings(Section):
    """Metrics of tables 3 and 4 (paper, 2.5.7)."""

    lpips: LpipsSettings | None = Field(
        LpipsSettings(), description="of reconstructions (table 3); null leaves the column empty"
    )
    features: FeatureSettings = FeatureSettings()
    intensity: Literal["zscore-volume", "none"] = Field(
        "zscore-volume",
        description="before the feature network: of each volume by itself, as medmetric advises "
        "(the paper says z-score, not over what)",
    )
    diversity_pairs: Positive = Field(
        5000, description="most MS-SSIM pairs per modality (authors' code)"
    )


class FigureSettings(Section):
    """The paper's figures."""

    generator: str | None = Field(
        "wfdm", description="figure 1: this generator and its compressor; null draws none"
    )
    dpi: Positive = Field(200, description="of the PNG beside each PDF")
