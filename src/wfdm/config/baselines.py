"""Settings of the published systems: rows of table 4 whose weights their authors give."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from wfdm.config.base import Rate, Section, label_field
from wfdm.config.cohort import Modality

ALL: tuple[Modality, ...] = ("T1w", "T2w", "T1Gd", "FLAIR")
UNCONDITIONAL = "None (unconditional)"
PLACE = "the row is left out until the file is placed"


class PublishedSystem(Section):
    """What all published systems share: their weights, and how table 2 and sidecars tell of them.

    `implementation` is a module with `of_row(name, row, source, volume, spacing)`.
    """

    implementation: ClassVar[str]
    modalities: ClassVar[tuple[Modality, ...]]
    table2: ClassVar[dict[str, str]]
    citation: ClassVar[str]
    licence: ClassVar[str]
    label: str = label_field("name in tables and figures")
    weights: str

    @property
    def assets(self) -> list[str]:
        """All files of weights that it needs, the network's first; they lie in one folder."""
        return [self.weights]

    @property
    def needs(self) -> list[str]:
        """Folders and files other than the weights, without which the row is left out."""
        return []


class HaganSettings(PublishedSystem):
    """HA-GAN with its authors' weights: one pass, no condition, T1w."""

    implementation: ClassVar[str] = "wfdm.baselines.hagan"
    modalities: ClassVar[tuple[Modality, ...]] = ("T1w",)
    table2: ClassVar[dict[str, str]] = {
        "Conditioning": UNCONDITIONAL,
        "Synthesis domain": "Pixel",
        "Scheduler": "N/A (GAN)",
        "Steps": "N/A",
        "Training source": "GSP (pretrained)",
    }
    citation: ClassVar[str] = "Sun et al. 2022, IEEE J Biomed Health Inform 26(8), arXiv 2008.01910"
    licence: ClassVar[str] = "none given (github.com/batmanlab/HA-GAN): all rights reserved"
    kind: Literal["ha-gan"]
    weights: str = Field("hagan-gsp", description=f"asset: its authors' GSP brains; {PLACE}")
    side: Literal[128, 256] = Field(
        256,
        description="voxels a side that the file is for: weights of both fit both, and the authors "
        "do not say; 256 as in the paper's table 6, whose volumes 128 could not fill",
    )
    orientation: str = Field(
        "RIA",
        pattern="^([RL][AP][IS]|[RL][IS][AP]|[AP][RL][IS]|[AP][IS][RL]|[IS][RL][AP]|[IS][AP][RL])$",
        description="where its axes lead; read from the authors' helper for GSP, which flips the "
        "first into FreeSurfer's frame; look at a sample",
    )
    field_mm: tuple[Rate, Rate, Rate] = Field(
        (166, 216, 216), description="what a cube shows along its axes, in mm; authors' helper"
    )


class WdmSettings(PublishedSystem):
    """WDM with its authors' weights: DDPM on Haar subbands, no condition, T1w at 2 mm."""

    implementation: ClassVar[str] = "wfdm.baselines.wdm"
    modalities: ClassVar[tuple[Modality, ...]] = ("T1w",)
    table2: ClassVar[dict[str, str]] = {
        "Conditioning": UNCONDITIONAL,
        "Synthesis domain": "DWT coefficient space",
        "Scheduler": "DDPM",
        "Training source": "BraTS2023 (pretrained)",
    }
    citation: ClassVar[str] = "Friedrich et al. 2024, DGM4MICCAI, arXiv 2402.19043"
    licence: ClassVar[str] = "MIT (github.com/pfriedri/wdm-3d)"
    kind: Literal["wdm"]
    weights: str = Field("wdm-brats", description=f"asset: its authors' BraTS model; {PLACE}")
    steps: int = Field(
        1000, ge=2, le=1000, description="authors' code: all; fewer are spread over all"
    )


class MedDdpmSettings(PublishedSystem):
    """Med-DDPM with its authors' weights: DDPM given a tumour mask, all four modalities."""

    implementation: ClassVar[str] = "wfdm.baselines.med_ddpm"
    modalities: ClassVar[tuple[Modality, ...]] = ALL
    table2: ClassVar[dict[str, str]] = {
        "Conditioning": "Segmentation mask",
        "Synthesis domain": "Pixel",
        "Scheduler": "DDPM",
        "Steps": "250",
        "Training source": "BraTS2021 (pretrained)",
    }
    citation: ClassVar[str] = "Dorjsembe et al. 2024, IEEE J Biomed Health Inform, arXiv 2305.18453"
    licence: ClassVar[str] = "GPL-3.0 (github.com/mobaidoctor/med-ddpm)"
    kind: Literal["med-ddpm"]
    weights: str = Field("med-ddpm-brats", description=f"asset: its authors' BraTS model; {PLACE}")
    masks: str = Field(
        "data/masks",
        description="folder of segmentations on the SRI-24 grid, BraTS's own or in the authors' "
        "labels; a request is given one of them by the seed",
    )

    @property
    def needs(self) -> list[str]:
        """The folder of masks."""
        return [self.masks]


PublishedSettings = HaganSettings | WdmSettings | MedDdpmSettings


def kinds() -> tuple[str, ...]:
    """Return the kinds of the published systems."""
    every: Any = PublishedSettings
    return tuple(each.model_fields["kind"].annotation.__args__[0] for each in every.__args__)
