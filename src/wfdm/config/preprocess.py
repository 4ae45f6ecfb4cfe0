"""Settings of preprocessing: raw scans to brains on the atlas grid."""

from typing import Annotated, Literal

from pydantic import Field

from wfdm.config.base import Fraction, Rate, Section


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
