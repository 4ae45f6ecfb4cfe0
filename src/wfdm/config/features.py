"""Settings of the fixed network whose features compare volumes."""

from typing import Literal

from pydantic import Field

from wfdm.config.base import Section


class FeatureNetwork(Section):
    """A fixed 3D network whose features compare volumes."""

    depth: Literal[10, 18, 34, 50] = Field(50, description="medmetric's default MedicalNet ResNet")
    weights: str | None = Field(
        "medicalnet-resnet50",
        description="asset with MedicalNet weights; null declares a random stand-in of that depth",
    )
    seed: int = Field(0, description="weights of the stand-in; unused where weights are given")
