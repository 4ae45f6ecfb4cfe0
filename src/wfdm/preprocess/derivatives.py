"""The results of a session: their names, volumes, numbers, and what the BIDS sidecars say."""

import importlib.metadata
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wfdm.atomic import write_text
from wfdm.config.cohort import Modality
from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.paths import REFERENCE, SPACE, sidecar_path, volume_name
from wfdm.preprocess.entry import ROUTES
from wfdm.preprocess.registration import Rigid

REFERENCE_ORDER: tuple[Modality, ...] = ("T1w", "T2w", "T1Gd", "FLAIR")  # paper, 2.3


@dataclass(frozen=True)
class SessionPaths:
    """Where a session's results go, in BIDS derivative style."""

    volumes: dict[Modality, Path]
    transforms: dict[Modality, Path]
    mask: Path
    picture: Path


@dataclass(frozen=True)
class SessionResult:
    """What `preprocess_session` wrote, and the numbers to judge it by.

    `left_out` tells why of each scan that could not be registered and has no volume. `registered`
    holds each scan's registration (of the reference to the atlas, of the others to the reference),
    empty for scans that were delivered in atlas space; `atlas_dice` compares the
    mask with the atlas brain; `voxel_mm` is the native voxel size, `foreground` the 1st, 50th and
    99th percentile of the written volume within the mask.
    """

    reference: Modality
    state: str
    paths: SessionPaths
    registered: dict[Modality, Rigid]
    left_out: dict[Modality, str]
    mask_ml: float
    atlas_dice: float
    voxel_mm: dict[Modality, list[float]]
    foreground: dict[Modality, list[float]]

    def files(self) -> list[Path]:
        """Return what was written."""
        paths = self.paths
        images = [*paths.volumes.values(), paths.mask]
        return [*images, *map(sidecar_path, images), *paths.transforms.values(), paths.picture]

    def numbers(self) -> dict[str, Any]:
        """Return paths and numbers as plain values, for the provenance record."""
        return {
            "volumes": {name: str(path) for name, path in self.paths.volumes.items()},
            "mask": str(self.paths.mask),
            "picture": str(self.paths.picture),
            "reference": self.reference,
            "state": self.state,
            "left_out": self.left_out,
            "mask_ml": self.mask_ml,
            "atlas_dice": self.atlas_dice,
            "similarity": {name: found.similarity for name, found in self.registered.items()},
            "coverage": {name: found.coverage for name, found in self.registered.items()},
            "start": {name: found.start for name, found in self.registered.items()},
            "voxel_mm": self.voxel_mm,
            "foreground": self.foreground,
        }


def session_paths(out: Path, prefix: str, modalities: Iterable[Modality]) -> SessionPaths:
    """Return where `preprocess_session` writes, so that a plan can name the files beforehand."""
    volumes, transforms = {}, {}
    for name in by_priority(modalities):
        volumes[name] = out / volume_name(prefix, name, SPACE, "preproc")
        transforms[name] = out / f"{prefix}_from-{name}_to-{SPACE}_mode-image_xfm.mat"
    return SessionPaths(
        volumes=volumes,
        transforms=transforms,
        mask=out / f"{prefix}_space-{SPACE}_desc-brain_mask.nii.gz",
        picture=out / f"{prefix}_desc-preproc_qc.png",
    )


def by_priority(modalities: Iterable[Modality]) -> list[Modality]:
    """Return the modalities by priority, the reference first."""
    return sorted(modalities, key=REFERENCE_ORDER.index)


def write_sidecar(path: Path, content: dict[str, Any]) -> None:
    """Write the JSON beside a volume."""
    write_text(sidecar_path(path), json.dumps(content, indent=2) + "\n")


def volume_sidecar(
    source: str, name: Modality, result: SessionResult, settings: PreprocessSettings
) -> dict[str, Any]:
    """Return the sidecar of one volume."""
    route = ROUTES[result.state]
    content = {
        "Description": "On the SRI-24 grid, intensities in [0, 1]",
        "RawSources": [source],
        "SpatialReference": REFERENCE,
        "Resolution": f"{settings.spacing:g} mm isotropic",
        "DeliveredState": result.state,
        "SkullStripped": route.extract or route.stripped,
        "ReferenceScan": result.reference,
    }
    if found := result.registered.get(name):
        content |= {
            "RegistrationFinestLevel": f"{settings.registration_mm:g} mm",
            "RegistrationSimilarity": round(found.similarity, 4),
            "RegistrationCoverage": round(found.coverage, 4),
            "RegistrationStart": found.start,
        }
    if route.normalise:
        content |= {
            "Normalisation": settings.normalisation,
            "IntensityPercentiles": list(settings.percentiles),
        }
    return content


def mask_sidecar(
    source: str, result: SessionResult, settings: PreprocessSettings
) -> dict[str, Any]:
    """Return the sidecar of the brain mask."""
    made = _extraction(settings) if ROUTES[result.state].extract else "none: as delivered"
    return {
        "Type": "Brain",
        "RawSources": [source],
        "SpatialReference": REFERENCE,
        "Resolution": f"{settings.spacing:g} mm isotropic",
        "DeliveredState": result.state,
        "BrainExtraction": made,
        "VolumeML": round(result.mask_ml, 1),
        "DiceWithAtlasBrain": round(result.atlas_dice, 4),
    }


def _extraction(settings: PreprocessSettings) -> str:
    if settings.extractor == "hd-bet":
        return f"hd-bet, classic: {settings.hd_bet.model_dump_json(exclude={'device'})}"
    package = settings.extractor.removesuffix("-2")
    return f"{package} {importlib.metadata.version(package)}"
