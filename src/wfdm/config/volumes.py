"""Settings of the tensor that every model sees."""

from pydantic import Field

from wfdm.config.base import Percentiles, Section, Size


class VolumeSettings(Section):
    """The tensor that every model sees."""

    shape: Size = Field((192, 224, 160), description="voxels in R, A, S (paper, 2.3)")
    percentiles: Percentiles = Field(
        (0.2, 99.6), description="clipping before the mapping to [0, 1] (authors' code)"
    )
