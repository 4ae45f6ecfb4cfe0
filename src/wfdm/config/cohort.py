"""Settings of the data: sources of scans, people, metadata and the division of people."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

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

    @property
    def whole_heads(self) -> bool:
        """Whether its scans still need a brain extraction."""
        return True


def _texts(given: Any) -> Any:
    """Return a mapping of texts as it was meant: YAML reads `yes`, `no` and 1 as no text."""
    if not isinstance(given, dict):
        return given
    return {_text(key): _text(value) for key, value in given.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int | float) else value


class FieldSource(Section):
    """Where a metadata field stands in a dataset's own list."""

    column: str = Field(description="column of participants.tsv or sessions.tsv")
    values: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(
        {}, description="what each of its values means; all must be listed. {}: as they stand"
    )
    unit: str = Field("", description="of a number; empty: as participants.json or the field says")


class SourceOnDisk(Section):
    """What all sources of files have."""

    kind: str
    synthetic: bool = Field(
        False,
        description="take scans too that say of themselves that they are synthetic, and say so in "
        "every table; false: they are refused and reported",
    )

    @property
    def called(self) -> str:
        """What tables call it."""
        return f"{self.kind} with synthetic scans" if self.synthetic else self.kind


class BidsSource(SourceOnDisk):
    """BIDS folders on disk, raw or derivatives."""

    kind: Literal["bids"]
    path: str = Field(description="a BIDS folder, or a folder of BIDS folders (one per dataset)")
    dataset: str | None = Field(
        None, description="label of the dataset; by default the folder's name"
    )
    state: Literal["raw", "brain", "identity", "preprocessed", "skull"] = Field(
        "raw",
        description="what was done to the scans: brain: only the brain is left, anywhere in space; "
        "identity: that, on SRI-24; preprocessed, skull: BrainScape's outputs",
    )
    suffixes: dict[str, Modality] = Field(
        {},
        description="further endings that are scans, e.g. inplaneT2: T2w, acq-post_T1w: T1Gd",
    )
    fields: dict[str, FieldSource] = Field(
        {}, description="metadata fields that stand in columns of other names or codes"
    )
    include: list[str] = Field(
        [], description="shell patterns of paths in the folder: these alone; empty: all"
    )
    exclude: list[str] = Field([], description="shell patterns of paths in the folder to leave out")
    participants: str | None = Field(
        None, description="participants.tsv of a dataset that has none itself, as derivatives"
    )

    @property
    def whole_heads(self) -> bool:
        """Whether its scans still need a brain extraction."""
        return self.state == "raw"


class BrainScapeSource(SourceOnDisk):
    """A BrainScape checkout as its tools leave it, or an export of it."""

    kind: Literal["brainscape"]
    path: str = Field(description="the checkout, its BrainScape folder, or an export's JSON file")
    images: Literal["preprocessed", "raw"] = Field(
        "preprocessed", description="BrainScape's volumes (paper), or its downloads, for our own"
    )
    exclude: list[str] = Field(
        [], description="datasets to leave out, besides those that BrainScape's files exclude"
    )

    @property
    def whole_heads(self) -> bool:
        """Whether its scans still need a brain extraction."""
        return self.images == "raw"


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
