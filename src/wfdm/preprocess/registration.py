"""Rigid registration, as 4 x 4 matrices in world coordinates (RAS, mm).

Matrices map points of the fixed image to points of the moving one (see `transforms`). ANTs and
`ascent` only optimise; `similarity.resample` interpolates, each scan once.
"""

import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from wfdm.data.grid import sri24_grid
from wfdm.errors import SessionError
from wfdm.preprocess.ascent import ascend
from wfdm.preprocess.similarity import Similarity, isotropic, within
from wfdm.preprocess.starts import STARTS, UPRIGHT, Start, about
from wfdm.preprocess.transforms import ants, read_transform, to_ants

_MARGIN_MM = 6  # around the brain the match counts too: skull, but no neck
_COARSE_MM = 6.0  # the search for a starting pose
_CHECK_MM = 4.0  # ANTs' level, and the check of the result
_ITERATIONS = 30
_CLIMBS = 8  # from that many of the poses of one start
_REACH = np.array([40.0, 40, 40, 60, 60, 60])  # how far one climb may turn (degrees), shift (mm)
_AGAINST_HEADER = 1.2  # a pose that contradicts the header must share this much more information


class Bounds(NamedTuple):
    """What similarity tells.

    Attributes:
        clear: at 6 mm, from here on no other pose of the same start needs to be tried.
        sure: at 4 mm, no other start needs to be tried.
        aligned: at 4 mm, what is accepted when all were.
    """

    clear: float
    sure: float
    aligned: float


# Similarity in and around the brain, measured on real scans (MS, tumours, slices of 3 to 5.5 mm)
# against the atlas. At 6 mm: T1w 1.050-1.077, other contrasts 1.037-1.065, wrong poses at most
# 1.036 and 1.040. At 4 mm: 1.027-1.062, of wrong poses upright ones at most 1.022, turned ones
# 1.025; noise 1.01. Two scans of one session: 1.04-1.11.
ON_ATLAS = Bounds(clear=1.043, sure=1.030, aligned=1.024)
# Scans of one head share more, in wrong poses too: with long necks those reached 1.050 and 1.034.
OF_ONE_HEAD = Bounds(clear=1.060, sure=1.040, aligned=1.036)


@dataclass(frozen=True)
class Rigid:
    """A rigid pose: `matrix` maps fixed to moving points.

    `similarity` is the normalised mutual information of the two images there, `coverage` the share
    of the region that lies in the moving image's field, `start` the name of the start (see
    `STARTS`) that led there.
    """

    matrix: np.ndarray
    similarity: float
    coverage: float = 0.0
    start: str = "header"


class Pair(NamedTuple):
    """Two images of cubic voxels, as fine as each other."""

    fixed: nib.Nifti1Image
    moving: nib.Nifti1Image


def rigid(
    fixed: nib.Nifti1Image,
    moving: nib.Nifti1Image,
    region: nib.Nifti1Image,
    finest_mm: float,
    seed: int,
    name: str,
    starts: Mapping[str, Start] | None = None,
    bounds: Bounds = ON_ATLAS,
) -> Rigid:
    """Register `moving` to `fixed` with six degrees of freedom and mutual information.

    A search at 6 mm gives a starting pose, ANTs refines it at 4 mm, an ascent at the finest level
    ends it, and its similarity tells whether heads are aligned there. The first start is upright,
    as the headers say and with the centres of mass laid on each other. Where that is not sure, the
    same is done from the centre of the head without its neck, which is half of what a field of
    256 mm shows; from any height of the field; from the principal axes (moments of inertia); from
    the 24 right-angled poses, with a neck and without, which mends an orientation that a header has
    wrong; and the best result is accepted if it is good enough. A moving image whose field covers
    less than half of the region is never accepted.

    Args:
        fixed: image in RAS order, any contrast.
        moving: image in RAS order, any contrast.
        region: 1 where the match counts, on any grid in the world of `fixed`.
        finest_mm: spacing of the finest level in mm; both images are resampled to it first.
        seed: seed of ANTs' metric sampling.
        name: what is registered, for the error message.
        starts: other starts than `STARTS`: name to a function that gives the poses to climb from.
        bounds: what similarity tells of these two images.

    Raises:
        SessionError: no start led to an alignment.
    """
    near = _cropped(fixed, region)
    coarse = Similarity(near, moving, region, _COARSE_MM)
    check = Similarity(near, moving, region, _CHECK_MM)
    rough, fine = (
        Pair(isotropic(near, mm), isotropic(moving, mm)) for mm in (_CHECK_MM, finest_mm)
    )
    best = Rigid(np.eye(4), 1.0)
    for start, poses in (starts or STARTS).items():
        found = search(coarse, poses(coarse), bounds.clear)
        matrix = _refine(rough, fine, region, found.matrix, seed)
        refined = Rigid(matrix, check(matrix), check.coverage(matrix), start)
        asked = 1.0 if start in UPRIGHT else _AGAINST_HEADER
        if refined.similarity - 1 > asked * (best.similarity - 1):
            best = refined
        if best.similarity >= bounds.sure:
            return best
    if best.similarity >= bounds.aligned:
        return best
    raise SessionError(
        f"{name}: registration failed from every start (similarity {best.similarity:.3f}, "
        f"{bounds.aligned} or more when aligned); check that it shows a whole head, or exclude it"
    )


def region_around(brain: np.ndarray) -> nib.Nifti1Image:
    """Return where a match counts: `brain` (boolean, 1 mm SRI-24 grid) and 6 mm around it.

    It is an image on every second voxel of that grid, which is fine enough for a margin.
    """
    around = ndimage.maximum_filter(brain[::2, ::2, ::2].astype(np.uint8), size=_MARGIN_MM + 1)
    affine = sri24_grid(1.0).affine @ np.diag([2.0, 2, 2, 1])
    return nib.Nifti1Image(around.astype(np.float32), affine)


def search(similarity: Similarity, poses: list[np.ndarray], clear: float) -> Rigid:
    """Climb from the likeliest poses by Powell's method, until one match is clear."""
    centre = similarity.points[:3].mean(axis=1)

    def moved(pose: np.ndarray, change: np.ndarray) -> np.ndarray:
        rotation = Rotation.from_rotvec(change[:3], degrees=True).as_matrix()
        return pose @ about(centre, rotation, centre + change[3:])

    def cost(change: np.ndarray, pose: np.ndarray) -> float:
        # A line search may leap to a head that stands on its own head: hold it to one hill.
        return -similarity(moved(pose, change)) if (np.abs(change) < _REACH).all() else -1.0

    best = Rigid(np.eye(4), 0.0)
    for pose in sorted(poses, key=similarity, reverse=True)[:_CLIMBS]:
        climb = optimize.minimize(
            cost,
            np.zeros(6),
            args=(pose,),
            method="Powell",
            options={"xtol": 0.1, "ftol": 1e-4, "maxfev": 400, "direc": 4.0 * np.eye(6)},
        )
        found = Rigid(moved(pose, climb.x), -float(climb.fun))
        best = max(best, found, key=lambda result: result.similarity)
        if best.similarity >= clear:
            break
    return best


def _refine(
    rough: Pair, fine: Pair, region: nib.Nifti1Image, start: np.ndarray, seed: int
) -> np.ndarray:
    """Run ANTs on the rough images from `start`, and an ascent on the fine ones from its result.

    ANTs turns about its origin, so both images are first placed such that the region's middle is
    the origin and `start` is the identity; its step sizes then suit rotation and shift alike.
    """
    target = rough.fixed
    inside = within(region, target)
    mask = nib.Nifti1Image(inside.astype(np.float32), target.affine)
    middle = np.eye(4)
    middle[:3, 3] = (target.affine @ [*ndimage.center_of_mass(inside), 1])[:3]
    back = np.linalg.inv(middle)
    with tempfile.TemporaryDirectory(prefix="wfdm-ants-") as folder:
        result = ants().registration(
            to_ants(target, back),
            to_ants(rough.moving, back @ np.linalg.inv(start)),
            mask=to_ants(mask, back),
            type_of_transform="Rigid",
            initial_transform="Identity",
            outprefix=f"{folder}/",
            aff_iterations=(_ITERATIONS,),
            aff_shrink_factors=(1,),
            aff_smoothing_sigmas=(0,),
            random_seed=seed % 2**31,
        )
        found = start @ middle @ read_transform(Path(result["fwdtransforms"][0])) @ back
    return ascend(fine.fixed, fine.moving, region, found)


def _cropped(image: nib.Nifti1Image, region: nib.Nifti1Image) -> nib.Nifti1Image:
    """Cut `image` to the box around `region`, with a margin for smoothing."""
    box = ndimage.find_objects((np.asarray(region.dataobj) > 0.5).astype(np.int8))[0]
    corners = np.array(
        [[*corner, 1] for corner in itertools.product(*((s.start, s.stop) for s in box))]
    )
    voxels = (np.linalg.inv(image.affine) @ region.affine @ corners.T)[:3]
    margin = 2 * _COARSE_MM / np.linalg.norm(image.affine[:3, :3], axis=0)
    first = np.maximum(np.floor(voxels.min(axis=1) - margin), 0).astype(int)
    last = np.maximum(np.ceil(voxels.max(axis=1) + margin), first + 2).astype(int)
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    cut = tuple(slice(start, stop) for start, stop in zip(first, last, strict=True))
    return nib.Nifti1Image(np.asarray(image.dataobj)[cut], affine)
