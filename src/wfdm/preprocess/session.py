"""Preprocess one session: scans in, brains on the SRI-24 grid out."""

import functools
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from wfdm.config.cohort import Modality
from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.grid import Grid, sri24_grid
from wfdm.data.paths import mask_beside
from wfdm.data.volumes import read_image, write_nifti
from wfdm.errors import SessionError, UserError
from wfdm.preprocess.brains import own_brain
from wfdm.preprocess.derivatives import (
    SessionResult,
    by_priority,
    mask_sidecar,
    session_paths,
    volume_sidecar,
    write_sidecar,
)
from wfdm.preprocess.entry import (
    ROUTES,
    Route,
    delivered_mask,
    delivered_range,
    on_atlas,
)
from wfdm.preprocess.extraction.extractors import Resources, extractor_of
from wfdm.preprocess.intensity import normalise
from wfdm.preprocess.placing import OVERLAP, Placed, Placing, Template, dice, place
from wfdm.preprocess.quality.pictures import Row, write_picture
from wfdm.preprocess.registration import region_around
from wfdm.preprocess.similarity import resample
from wfdm.preprocess.transforms import write_transform

# Brains of people of all ages with atrophy or swelling lie well inside; a mask outside is broken.
_PLAUSIBLE_ML = (500.0, 2500.0)
_FOREGROUND = (1, 50, 99)  # percentiles of a written brain, in per cent


def preprocess_session(
    scans: Mapping[Modality, Path],
    out: Path,
    prefix: str,
    settings: PreprocessSettings,
    seed: int,
    atlas: Path,
    atlas_head: Path,
    state: str = "raw",
    resources: Resources = Resources(),  # noqa: B008 (immutable)
) -> SessionResult:
    """Register, extract, normalise and write one session (paper, 2.3; BrainScape's pipeline).

    Reference by T1w > T2w > T1Gd > FLAIR; the reference is registered rigidly to the atlas head,
    the other scans to the reference in atlas space; every scan is interpolated once, from its
    native space to the SRI-24 grid; one brain mask, made on the reference at 1 mm, serves all.
    A session that was delivered in another state enters at the step that it still needs.

    Args:
        scans: path of the scan per modality, one to four of them.
        out: folder to write to, the session's `anat`.
        prefix: BIDS entities of the session, e.g. "sub-001_ses-1".
        settings: the study's `preprocess` section.
        seed: the study's seed.
        atlas: the skull-stripped SRI-24 T1w.
        atlas_head: the whole SRI-24 head.
        state: what was done to the scans before (a key of `ROUTES`).
        resources: weights and threads of the brain extraction.

    Returns:
        Paths of what was written and the numbers to judge it by. The same inputs and seed give
        the same bytes (on a CPU, with any number of threads).

    Raises:
        SessionError: an input is unusable (checked before any work), the registration of the
            reference or the brain extraction failed. Nothing is written then. Another scan that
            cannot be registered is left out alone.
        UserError: the study cannot work at all: atlas or weights are missing.
    """
    if not scans:
        raise UserError(f"{prefix}: the session has no scan; drop it from the scan table")
    modalities = by_priority(scans)
    route = ROUTES[state]
    extractor = extractor_of(settings, resources)
    if route.extract:
        extractor.check(modalities[0], prefix)
    fine, grid = sri24_grid(1.0), sri24_grid(settings.spacing)
    brain = _atlas_brain(atlas)
    images = {modality: _read(scans[modality]) for modality in modalities}
    if route.register and route.stripped:
        images, own = _own_brains(images, scans)
        fixed = Template(_atlas_head(atlas), brain, _region(atlas))
        placed = place(Placing(images, fixed, own, settings, seed, prefix))
    elif route.register:
        fixed = Template(_atlas_head(atlas_head), brain, _region(atlas))
        placed = place(Placing(images, fixed, extractor, settings, seed, prefix))
    else:
        placed = _delivered(images, scans, route, settings.spacing)
    if route.stripped or route.extract:
        _check_mask(placed.mask, brain, prefix, route)
    mask = _on_grid(placed.mask, fine, grid)
    modalities = by_priority(placed.heads)
    brains = {}
    for name, volume in placed.heads.items():
        if route.normalise:
            brains[name] = _normalised(volume, mask, settings, scans[name])
        else:
            brains[name] = delivered_range(volume, scans[name], state)
    result = SessionResult(
        reference=modalities[0],
        state=state,
        paths=session_paths(out, prefix, modalities),
        registered=placed.registered,
        left_out=placed.left_out,
        mask_ml=float(placed.mask.sum() / 1000),
        atlas_dice=dice(placed.mask, brain),
        voxel_mm={name: _voxel(images[name]) for name in modalities},
        foreground={
            name: np.percentile(volume[mask], _FOREGROUND).round(4).tolist()
            for name, volume in brains.items()
        },
    )
    _write(result, scans, settings, brains, mask, grid)
    rows = [Row(name, images[name], placed.heads[name], brains[name]) for name in modalities]
    outline = _brain_on_grid(atlas, settings.spacing)
    write_picture(result.paths.picture, rows, mask, outline, settings.spacing)
    return result


def _read(path: Path) -> nib.Nifti1Image:
    """Read a scan; what is wrong with it concerns its session alone."""
    try:
        return read_image(path)
    except UserError as error:
        raise SessionError(str(error)) from error


def _own_brains(
    images: Mapping[Modality, nib.Nifti1Image], scans: Mapping[Modality, Path]
) -> tuple[dict[Modality, nib.Nifti1Image], nib.Nifti1Image]:
    """Return scans of state brain without their surroundings, and the mask of the first."""
    found = {}
    for name, image in images.items():
        beside = mask_beside(scans[name])
        found[name] = own_brain(image, scans[name], _read(beside) if beside else None)
    return {name: brain for name, (brain, _) in found.items()}, next(iter(found.values()))[1]


def _normalised(
    volume: np.ndarray, mask: np.ndarray, settings: PreprocessSettings, path: Path
) -> np.ndarray:
    try:
        return normalise(volume, mask, settings.percentiles, settings.normalisation)
    except UserError as error:
        raise SessionError(f"{path}: {error}") from error


# The atlas is the same for every session that a process works on.
@functools.lru_cache(maxsize=1)
def _atlas_brain(path: Path) -> np.ndarray:
    """Return where the skull-stripped atlas is positive, checked to lie on the SRI-24 grid."""
    image, grid = read_image(path), sri24_grid(1.0)
    if image.shape != grid.shape or not np.allclose(image.affine, grid.affine, atol=1e-3):
        raise UserError(
            f"{path}: not on the 1 mm SRI-24 grid of BraTS; fetch the atlas asset again"
        )
    brain = np.asarray(image.dataobj) > 0
    brain.setflags(write=False)
    return brain


@functools.lru_cache(maxsize=2)
def _atlas_head(path: Path) -> nib.Nifti1Image:
    return read_image(path)


@functools.lru_cache(maxsize=1)
def _region(atlas: Path) -> nib.Nifti1Image:
    return region_around(_atlas_brain(atlas))


@functools.lru_cache(maxsize=1)
def _brain_on_grid(atlas: Path, spacing: float) -> np.ndarray:
    return _on_grid(_atlas_brain(atlas), sri24_grid(1.0), sri24_grid(spacing))


def _delivered(
    images: Mapping[Modality, nib.Nifti1Image],
    scans: Mapping[Modality, Path],
    route: Route,
    spacing: float,
) -> Placed:
    """Place scans that were delivered in atlas space."""

    def placed(name: Modality, mm: float) -> np.ndarray:
        return on_atlas(images[name], scans[name], sri24_grid(mm), route.stripped)

    heads = {name: placed(name, spacing) for name in images}
    return Placed(heads, delivered_mask(placed(next(iter(images)), 1.0)), {}, {})


def _check_mask(mask: np.ndarray, brain: np.ndarray, prefix: str, route: Route) -> None:
    volume, overlap = mask.sum() / 1000, dice(mask, brain)
    low, high = _PLAUSIBLE_ML
    if not low <= volume <= high:
        raise SessionError(
            f"{prefix}: the brain mask has {volume:.0f} mL (plausible: {low:.0f} to {high:.0f}); "
            "look at the reference scan, and exclude the session or "
            + ("change preprocess.extractor" if route.extract else "give its source another state")
        )
    if overlap < OVERLAP:
        raise SessionError(
            f"{prefix}: the brain mask hardly overlaps the atlas brain (Dice {overlap:.2f}, "
            f"{OVERLAP} or more when aligned); look at the scans, and exclude the session"
        )


def _voxel(image: nib.Nifti1Image) -> list[float]:
    return [round(float(mm), 3) for mm in np.linalg.norm(image.affine[:3, :3], axis=0)]


def _on_grid(mask: np.ndarray, fine: Grid, grid: Grid) -> np.ndarray:
    """Bring a boolean mask from one grid to another by trilinear majority."""
    if grid.shape == fine.shape:
        return mask
    image = nib.Nifti1Image(mask.astype(np.float32), fine.affine)
    return resample(image, np.eye(4), grid) > 0.5


def _write(
    result: SessionResult,
    scans: Mapping[Modality, Path],
    settings: PreprocessSettings,
    brains: Mapping[Modality, np.ndarray],
    mask: np.ndarray,
    grid: Grid,
) -> None:
    for name, path in result.paths.volumes.items():
        write_nifti(path, brains[name], grid.affine)
        write_sidecar(path, volume_sidecar(scans[name].name, name, result, settings))
        found = result.registered.get(name)
        write_transform(result.paths.transforms[name], found.matrix if found else np.eye(4))
    write_nifti(result.paths.mask, mask.astype(np.uint8), grid.affine)
    source = scans[result.reference].name
    write_sidecar(result.paths.mask, mask_sidecar(source, result, settings))
