"""Settings of preprocessing: raw scans to brains on the atlas grid, and what is let through."""

from typing import Annotated, Literal

from pydantic import Field

from wfdm.config.base import Fraction, Percentiles, Rate, Section

Fold = Annotated[int, Field(ge=0, le=4)]


class HdBetSettings(Section):
    """Classic HD-BET (Isensee et al., Human Brain Mapping 40, 2019)."""

    folds: list[Fold] = Field(
        [0, 1, 2, 3, 4], min_length=1, description="networks whose mean decides (BrainScape: all)"
    )
    mirror: bool = Field(
        True, description="test-time augmentation: mean over the 8 mirror images (BrainScape)"
    )
    largest_component: bool = Field(
        False, description="postprocessing: drop islands of the mask (BrainScape: off)"
    )
    field: Literal["whole", "brain"] = Field(
        "whole",
        description="what the networks see: the whole SRI-24 field (BrainScape), or the box that "
        "holds every brain there, 2.2 times faster",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="bfloat16 is faster on GPUs and CPUs with AVX512-BF16 or AMX, slower elsewhere",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU if any")


class PreprocessSettings(Section):
    """From raw scans to brains on the SRI-24 grid (paper, 2.3)."""

    atlas: str = Field("sri24", description="asset: the skull-stripped SRI-24 T1 (paper)")
    atlas_head: str = Field(
        "sri24-head", description="asset: the whole SRI-24 head, which raw heads are registered to"
    )
    spacing: Rate = Field(1.0, description="grid spacing in mm (paper: 1 mm isotropic)")
    extractor: Literal["hd-bet", "hd-bet-2", "deepbet"] = Field(
        "hd-bet",
        description="brain extraction: hd-bet is the classic one (paper, BrainScape); hd-bet-2 "
        "needs its package and weights; deepbet is quick and reads T1w only",
    )
    hd_bet: HdBetSettings = HdBetSettings()
    registration_mm: Rate = Field(
        1.0,
        description="finest registration level; 1 mm for the study; 2 mm is quicker and errs by "
        "0.2 mm more",
    )
    antialias: bool = Field(
        False,
        description="blur scans finer than the grid to its voxel size first (BrainScape: not); "
        "worth it on coarse grids",
    )
    normalisation: Literal["masked-volume", "foreground"] = Field(
        "masked-volume",
        description="what the percentiles run over: the masked volume with its zero background "
        "(BrainScape), or the brain's voxels alone",
    )
    percentiles: Percentiles = Field((0.1, 99.9), description="mapped to 0 and 1 (BrainScape)")

    @property
    def weights(self) -> list[str]:
        """Names of the assets that the extractor needs: one per fold of classic HD-BET."""
        if self.extractor != "hd-bet":
            return []
        return [f"hd-bet-{fold}" for fold in self.hd_bet.folds]


class QualitySettings(Section):
    """What becomes of sessions that failed, look odd, or are excluded by hand."""

    exclusions: str = Field(
        "config/exclusions.tsv",
        description="file that a person edits: scan_id (or a session's key) and reason",
    )
    policy: Literal["fail", "skip"] = Field(
        "fail",
        description="when all sessions are done: fail stops until each failed one is repaired or "
        "excluded, skip goes on without them (our choice: no scan is lost unnoticed)",
    )
    ceiling: Fraction = Field(
        0.05, description="policy skip stops all the same when more than this share failed"
    )
    z: Rate = Field(
        3.5, description="robust z-score that raises a flag (Iglewicz and Hoaglin, 1993)"
    )
