"""Settings of the test of control: what changes in a generator's samples when one field does."""

from typing import Annotated, Literal

from pydantic import Field

from wfdm.config.base import Positive, Section
from wfdm.config.cohort import Modality

FIELDS: dict[str, list[float | str]] = {
    "age": [20.0, 35.0, 50.0, 65.0, 80.0],
    "sex": ["female", "male"],
}
MESHNET = ["meshnet-18-topology", "meshnet-18"]
"""assets: the topology, then the weights"""


class ControllabilitySettings(Section):
    """How one generator of kind diffusion is asked, and measured; a row of table A2."""

    modality: Modality = Field("T1w", description="of samples and scans; both measures know T1w")
    fields: dict[str, Annotated[list[float | str], Field(min_length=2)]] = Field(
        FIELDS,
        description="metadata field to the values that are asked for, first to last; while one "
        "varies the others of these are a test person's own, and no further field is told",
    )
    draws: Annotated[int, Field(ge=2)] = Field(
        8, description="our choice: noises, each with every value and without"
    )
    scans: Positive = Field(
        500, description="our choice: real people of each split at most, a scan each, by seed"
    )
    measure: Literal["thresholds", "meshnet"] = Field(
        "meshnet",
        description="of volumes in mL: thresholds, of phantoms; meshnet: segmented at 1 mm by a "
        "published network, a minute a volume on a CPU",
    )

    @property
    def assets(self) -> list[str]:
        """The assets that the measure needs."""
        return MESHNET if self.measure == "meshnet" else []
