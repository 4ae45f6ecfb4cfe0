"""Settings of the data: sources of scans and the division of people."""

from typing import Annotated, Literal

from pydantic import Field

from wfdm.config.base import Fraction, Positive, Rate, Section

Modality = Literal["T1w", "T2w", "T1Gd", "FLAIR"]


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
