"""Settings of the data: sources of scans, people, metadata and the division of people."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

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


class BrainScapeSource(Section):
    """A BrainScape checkout as its tools leave it, or an export of it."""

    kind: Literal["brainscape"]
    path: str = Field(description="the checkout, its BrainScape folder, or an export's JSON file")
    images: Literal["preprocessed", "raw"] = Field(
        "preprocessed", description="BrainScape's volumes (paper), or its downloads, for our own"
    )
    exclude: list[str] = Field(
        [], description="datasets to leave out, besides those that BrainScape's files exclude"
    )


Source = Annotated[PhantomSource | BidsSource | BrainScapeSource, Field(discriminator="kind")]


class PeopleSettings(Section):
    """Who is the same person under several names."""

    aliases: str = Field("config/people.tsv", description="table of rules and ids with evidence")
    near_duplicate: Fraction = Field(
        0.25, description="largest share of differing hash bits that is shown for review; measured"
    )


class MetadataSettings(Section):
    """The 25 metadata fields."""

    age_group_from_age: bool = Field(
        True, description="derive age_group from age where it is not recorded (authors' code)"
    )
    statistics: Literal["training", "published"] = Field(
        "training", description="of the z-scores: this training split's, or the authors' constants"
    )


class SplitSettings(Section):
    """How people are divided."""

    rule: Literal["person", "published"] = Field(
        "person",
        description="our choice: nobody is in two splits; published: the authors' procedure, which "
        "leaks people, to repeat it knowingly",
    )
    train: Fraction = Field(0.8, description="paper, table 1: 80 %")
    validation: Fraction = Field(0.1, description="paper, table 1: 10 %; the rest is the test set")
    stratify: list[str] = Field(
        [], description="our choice: none, as the paper; category fields to divide evenly, e.g. sex"
    )
    file: str | None = Field(
        None, description="a frozen split instead: a splits.tsv, or BrainScape's exported JSON"
    )

    @model_validator(mode="after")
    def _fits_the_rule(self) -> "SplitSettings":
        if self.train + self.validation > 1:
            raise ValueError("train + validation is more than 1: nothing is left to test on")
        if self.stratify and (self.rule == "published" or self.file):
            raise ValueError("stratify works with rule 'person' and no file: leave it empty")
        return self
