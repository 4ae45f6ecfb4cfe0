"""Settings of the fixed networks whose features compare volumes."""

from typing import Literal

from pydantic import Field

from wfdm.config.base import Positive, Section


class FeatureSettings(Section):
    """A fixed 3D network whose features compare volumes."""

    depth: Literal[10, 18, 34, 50] = Field(50, description="medmetric's default MedicalNet ResNet")
    weights: str | None = Field(
        "medicalnet-resnet50",
        description="asset with MedicalNet weights; null declares a random stand-in of that depth",
    )
    seed: int = Field(0, description="weights of the stand-in; unused where weights are given")

    @property
    def assets(self) -> list[str]:
        """The assets that it needs, in the order of its weights."""
        return [self.weights] if self.weights else []


class LpipsSettings(Section):
    """LPIPS (Zhang et al., 2018): ImageNet features of slices with learned weights."""

    backbone: Literal["alex", "vgg"] = Field("alex", description="authors' code")
    weights: str = Field("alexnet-imagenet", description="asset: torchvision's ImageNet weights")
    heads: str = Field("lpips-alex-heads", description="asset: the linear heads of that backbone")
    every: Positive = Field(1, description="slices that count along each axis: each n-th; 1 is all")

    @property
    def assets(self) -> list[str]:
        """The assets that it needs, in the order of its weights."""
        return [self.weights, self.heads]
