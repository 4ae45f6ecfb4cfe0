"""Preprocess one session: raw scans in, brains on the SRI-24 grid out."""

import gzip
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from wfdm.atomic import atomic_path, write_text
from wfdm.config.data import Modality
from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.paths import volume_name
from wfdm.data.volumes import read_image
from wfdm.errors import UserError
from wfdm.preprocess.brain_extraction import brain_mask, check_extractor
from wfdm.preprocess.grid import Grid, sri24_grid
from wfdm.preprocess.intensity import normalise
from wfdm.preprocess.pictures import Row, write_picture
from wfdm.preprocess.registration import Rigid, resample, rigid
from wfdm.preprocess.transforms import write_transform
from wfdm.seeds import seed_for

REFERENCE_ORDER: tuple[Modality, ...] = ("T1w", "T2w", "T1Gd", "FLAIR")  # paper, 2.3
_MARGIN_MM = 6  # around the atlas brain the match counts too: skull, but no neck


@dataclass(frozen=True)
class SessionPaths:
    """Where a session's results go, in BIDS derivative style."""

    volumes: dict[Modality, Path]
    transforms: dict[Modality, Path]
    mask: Path
    picture: Path


@dataclass(frozen=True)
class SessionResult:
    """What `preprocess_session` wrote, and how well it went.

    `similarity` is each registration's normalised mutual information (the reference's to the
    atlas, the others' to the reference); `atlas_dice` compares the mask with the atlas brain.
    """

    reference: Modality
    paths: SessionPaths
    mask_ml: float
    atlas_dice: float
    similarity: dict[Modality, float]


def preprocess_session(
    scans: Mapping[Modality, Path],
    out: Path,
    prefix: str,
    settings: PreprocessSettings,
    seed: int,
    atlas: Path,
    atlas_head: Path,
) -> SessionResult:
    """Register, extract, normalise and write one session (paper, 2.3; BrainScape's pipeline).

    Reference by T1w > T2w > T1Gd > FLAIR; the reference is registered rigidly to the atlas head,
    the other scans to the reference; every scan is interpolated once, from its native space to
    the SRI-24 grid; one brain mask, made on the reference at 1 mm, serves all.

    Args:
        scans: path of the raw scan per modality, one to four of them.
        out: folder to write to, the session's `anat`.
        prefix: BIDS entities of the session, e.g. "sub-001_ses-1".
        settings: the study's `preprocess` section.
        seed: the study's seed.
        atlas: the skull-stripped SRI-24 T1w.
        atlas_head: the whole SRI-24 head.

    Returns:
        Paths of what was written and the numbers to judge it by. The same inputs and seed give
        the same bytes (CPU, same number of threads).

    Raises:
        UserError: an input is unusable (checked before any work), a registration or the brain
            extraction failed. Nothing is written then.
    """
    if not scans:
        raise UserError(f"{prefix}: the session has no scan; drop it from the scan table")
    reference = next(modality for modality in REFERENCE_ORDER if modality in scans)
    check_extractor(settings.extractor, reference, prefix)
    images = {modality: read_image(scans[modality]) for modality in _ordered(scans)}
    fine, grid = sri24_grid(1.0), sri24_grid(settings.spacing)
    head = read_image(atlas_head)
    brain = _atlas_brain(atlas, fine)

    matched = _register(images, head, brain, settings.registration_mm, seed, prefix)
    whole = resample(images[reference], matched[reference].matrix, fine)
    mask = brain_mask(settings.extractor, whole, settings.spacing, prefix)
    heads = {name: resample(image, matched[name].matrix, grid) for name, image in images.items()}
    inside = _on_grid(mask, fine, grid)
    brains = {
        name: normalise(volume, inside, settings.percentiles) for name, volume in heads.items()
    }

    result = SessionResult(
        reference=reference,
        paths=session_paths(out, prefix, images),
        mask_ml=float(mask.sum() / 1000),
        atlas_dice=dice(mask, brain),
        similarity={name: found.similarity for name, found in matched.items()},
    )
    for name, path in result.paths.volumes.items():
        _write_volume(path, brains[name], grid)
        _write_sidecar(path, _describe(scans[name].name, result, settings))
        write_transform(result.paths.transforms[name], matched[name].matrix)
    _write_volume(result.paths.mask, inside.astype(np.uint8), grid)
    _write_sidecar(result.paths.mask, _describe_mask(scans[reference].name, result, settings))
    rows = [Row(name, images[name], heads[name], brains[name]) for name in images]
    write_picture(result.paths.picture, rows, inside, _on_grid(brain, fine, grid), settings.spacing)
    return result


def session_paths(out: Path, prefix: str, modalities: Iterable[Modality]) -> SessionPaths:
    """Return where `preprocess_session` writes, so that a plan can name the files beforehand."""
    volumes, transforms = {}, {}
    for name in _ordered(modalities):
        volumes[name] = out / volume_name(prefix, name, "SRI24", "preproc")
        transforms[name] = out / f"{prefix}_from-{name}_to-SRI24_mode-image_xfm.mat"
    return SessionPaths(
        volumes=volumes,
        transforms=transforms,
        mask=out / f"{prefix}_space-SRI24_desc-brain_mask.nii.gz",
        picture=out / f"{prefix}_desc-preproc_qc.png",
    )


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return Dice's overlap 2 |a and b| / (|a| + |b|) of two boolean arrays."""
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def _ordered(modalities: Iterable[Modality]) -> list[Modality]:
    """Return the modalities by priority, the reference first."""
    return sorted(modalities, key=REFERENCE_ORDER.index)


def _atlas_brain(path: Path, grid: Grid) -> np.ndarray:
    """Return where the skull-stripped atlas is positive, checked to lie on the SRI-24 grid."""
    image = read_image(path)
    if image.shape != grid.shape or not np.allclose(image.affine, grid.affine, atol=1e-3):
        raise UserError(
            f"{path}: not on the 1 mm SRI-24 grid of BraTS; fetch the atlas asset again"
        )
    return np.asarray(image.dataobj) > 0


def _register(
    images: Mapping[Modality, nib.Nifti1Image],
    head: nib.Nifti1Image,
    brain: np.ndarray,
    finest_mm: float,
    seed: int,
    prefix: str,
) -> dict[Modality, Rigid]:
    """Return each scan's registration with its matrix from SRI-24 points to native ones."""
    size = 2 * _MARGIN_MM + 1
    around = ndimage.maximum_filter(brain.astype(np.uint8), size=size).astype(np.float32)
    region = nib.Nifti1Image(around, sri24_grid(1.0).affine)
    reference, *movers = images

    def match(fixed: nib.Nifti1Image, name: Modality, region: nib.Nifti1Image) -> Rigid:
        draw = seed_for(seed, "register", prefix, name)
        return rigid(fixed, images[name], region, finest_mm, draw, f"{prefix}, {name}")

    matched = {reference: match(head, reference, region)}
    to_native = matched[reference].matrix
    # The same region where the reference has it: only its place in the world changes.
    moved = nib.Nifti1Image(around, to_native @ region.affine)
    for name in movers:
        found = match(images[reference], name, moved)
        matched[name] = Rigid(found.matrix @ to_native, found.similarity)
    return matched


def _on_grid(mask: np.ndarray, fine: Grid, grid: Grid) -> np.ndarray:
    """Bring a boolean mask from one grid to another by trilinear majority."""
    image = nib.Nifti1Image(mask.astype(np.float32), fine.affine)
    return resample(image, np.eye(4), grid) > 0.5


def _write_volume(path: Path, array: np.ndarray, grid: Grid) -> None:
    """Write NIfTI whose bytes depend on the array alone: no time or name in the gzip header."""
    image = nib.Nifti1Image(array, grid.affine)
    image.set_qform(grid.affine, code="scanner")
    image.set_sform(grid.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=4, mtime=0))


def _write_sidecar(path: Path, content: dict[str, Any]) -> None:
    name = path.name.removesuffix(".nii.gz")
    write_text(path.with_name(f"{name}.json"), json.dumps(content, indent=2) + "\n")


def _describe(source: str, result: SessionResult, settings: PreprocessSettings) -> dict[str, Any]:
    return {
        "Description": "Rigidly registered to SRI-24, brain only, intensities in [0, 1]",
        "RawSources": [source],
        "SpatialReference": "SRI-24 T1 on the BraTS grid",
        "Resolution": f"{settings.spacing:g} mm isotropic",
        "SkullStripped": True,
        "ReferenceScan": result.reference,
        "RegistrationFinestLevel": f"{settings.registration_mm:g} mm",
        "RegistrationSimilarity": {k: round(v, 4) for k, v in result.similarity.items()},
        "IntensityPercentiles": list(settings.percentiles),
    }


def _describe_mask(
    source: str, result: SessionResult, settings: PreprocessSettings
) -> dict[str, Any]:
    return {
        "Type": "Brain",
        "RawSources": [source],
        "SpatialReference": "SRI-24 T1 on the BraTS grid",
        "Resolution": f"{settings.spacing:g} mm isotropic",
        "BrainExtraction": f"{settings.extractor} {importlib.metadata.version(settings.extractor)}",
        "VolumeML": round(result.mask_ml, 1),
        "DiceWithAtlasBrain": round(result.atlas_dice, 4),
    }
