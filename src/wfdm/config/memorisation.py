"""Settings of the audit of memorisation: what samples are compared in, and what is a copy."""

from typing import Annotated, Literal

from pydantic import Field

from wfdm.config.base import Positive, Section

Space = Literal["latent", "feature", "image"]


class MembershipSettings(Section):
    """Membership inference by the denoiser's loss."""

    times: Positive = Field(
        16, description="our choice: times, evenly spread, each with a noise that all scans share"
    )
    scans: Positive = Field(
        2048, description="our choice: at most so many training scans and test scans, by seed"
    )


class MemorisationSettings(Section):
    """Samples beside their nearest training scans, and training scans beside others; table A3."""

    spaces: Annotated[list[Space], Field(min_length=1)] = Field(
        ["latent", "feature", "image"],
        description="what distances are taken in: latents divided by their deviation; features of "
        "evaluation.features; volumes",
    )
    compressor: str = Field(
        "wf-sa-vae", description="whose latents: WFDM's; one for all systems, so that they compare"
    )
    pool: Positive = Field(
        4,
        description="our choice: volumes are compared as means of cubes of so many voxels a side, "
        "which holds a cohort in memory; 1: voxel by voxel",
    )
    copy_below: float = Field(
        0.8,
        gt=0,
        lt=1,
        description="a sample is a copy where its nearest training scan is nearer than this share "
        "of the distance to the nearest of another person; set on the demo before any duplicate "
        "was planted: of 24 real scans never trained on the least was 0.92, of 23 training scans "
        "through its compressor the median 0.51",
    )
    asked: Positive | None = Field(
        None,
        description="so many training scans of each modality are put through the compressor as "
        "known copies, and asked of denoisers with planted duplicates; null: as many as there are "
        "test scans",
    )
    membership: MembershipSettings = MembershipSettings()
