"""Rigid registration with ANTs, as 4 x 4 matrices in world coordinates (RAS, mm).

Matrices map points of the fixed image to points of the moving one (see `transforms`). ANTs only
optimises; `similarity.resample` interpolates, each scan once.
"""

import itertools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from wfdm.data.grid import Grid, sri24_grid
from wfdm.errors import SessionError
from wfdm.preprocess.similarity import Moments, Similarity, clipped, isotropic, resample
from wfdm.preprocess.transforms import ants, read_transform, to_ants

_MARGIN_MM = 6  # around the brain the match counts too: skull, but no neck
_COARSE_MM = 6.0  # the search for a starting pose
_CHECK_MM = 4.0  # the check of the result
_LEVELS_MM = (4.0, 2.0, 1.0)
_ITERATIONS = {4.0: 30, 2.0: 6, 1.0: 6}
# Share of the points that ANTs' metric samples: 0.05 and its default 0.2 err alike (phantoms of
# known pose: 0.09 and 0.08 mm, with slices of 5 mm 0.21 and 0.22), in a third of the time.
_SAMPLED = 0.05
# Similarity in and around the brain, measured on real scans (MS, tumours, slices of 3 to 5.5 mm)
# against the atlas. At 6 mm: T1w 1.050-1.077, other contrasts 1.038-1.065, upside down at most
# 1.033 and 1.040. At 4 mm: 1.027-1.061; noise 1.01. Two scans of one session: 1.04-1.11.
_CLEAR = 1.043  # at 6 mm: no other pose needs to be tried
_ALIGNED = 1.022  # at 4 mm, after refinement: what is accepted
_CLIMBS = 8  # from that many of the poses of one start
_REACH = np.array([40.0, 40, 40, 60, 60, 60])  # how far one climb may turn (degrees), shift (mm)
_AGAINST_HEADER = 1.2  # a pose that contradicts the header must share this much more information
_HEAD_MM = 150.0  # from the crown to the base of the brain of a large adult, scalp included
_LIT = 0.25  # of the brightest slice: the first one that bright, from outside, is the crown's


Start = Callable[[Similarity], list[np.ndarray]]


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


def rigid(
    fixed: nib.Nifti1Image,
    moving: nib.Nifti1Image,
    region: nib.Nifti1Image,
    finest_mm: float,
    seed: int,
    name: str,
    starts: Mapping[str, Start] | None = None,
) -> Rigid:
    """Register `moving` to `fixed` with six degrees of freedom and mutual information.

    A search at 6 mm gives a starting pose, ANTs refines it, and the result is accepted when its
    similarity is that of aligned heads. The first start is upright, as the headers say and with
    the centres of mass laid on each other; where it leads to no clear match or to a result that is
    not accepted, the search is made again from the centre of the head without its neck, which is
    half of what a field of 256 mm shows; then from the principal axes (moments of inertia), then
    from the 24 right-angled poses, with a neck and without, which mends an orientation that a
    header has wrong. A moving image whose field covers less than half of the region is never
    accepted.

    Args:
        fixed: image in RAS order, any contrast.
        moving: image in RAS order, any contrast.
        region: 1 where the match counts, on any grid in the world of `fixed`.
        finest_mm: spacing of the finest level in mm; both images are resampled to it first.
        seed: seed of ANTs' metric sampling.
        name: what is registered, for the error message.
        starts: other starts than `STARTS`: name to a function that gives the poses to climb from.

    Raises:
        SessionError: no start led to an alignment.
    """
    near = _cropped(fixed, region)
    coarse = Similarity(near, moving, region, _COARSE_MM)
    check = Similarity(near, moving, region, _CHECK_MM)
    best = Rigid(np.eye(4), 0.0)
    refined: dict[str, Rigid] = {}
    starts = starts or STARTS
    for start, poses in starts.items():
        found = search(coarse, poses(coarse))
        asked = 1.0 if start in UPRIGHT else _AGAINST_HEADER
        if found.similarity - 1 > asked * (best.similarity - 1):
            best = Rigid(found.matrix, found.similarity, start=start)
        unclear = best.similarity < _CLEAR and start != list(starts)[-1]
        if unclear or best.start in refined:
            continue
        matrix = _refine(near, moving, region, best.matrix, finest_mm, seed)
        found = Rigid(matrix, check(matrix), check.coverage(matrix), best.start)
        if found.similarity >= _ALIGNED:
            return found
        refined[best.start] = found
        best = Rigid(best.matrix, 0.0, start=best.start)  # any other pose is better than this one
    closest = max(refined.values(), key=lambda result: result.similarity)
    raise SessionError(
        f"{name}: registration failed from every start (similarity {closest.similarity:.3f}, "
        f"{_ALIGNED} or more when aligned); check that it shows a whole head, or exclude it"
    )


def region_around(brain: np.ndarray) -> nib.Nifti1Image:
    """Return where a match counts: `brain` (boolean, 1 mm SRI-24 grid) and 6 mm around it.

    It is an image on every second voxel of that grid, which is fine enough for a margin.
    """
    around = ndimage.maximum_filter(brain[::2, ::2, ::2].astype(np.uint8), size=_MARGIN_MM + 1)
    affine = sri24_grid(1.0).affine @ np.diag([2.0, 2, 2, 1])
    return nib.Nifti1Image(around.astype(np.float32), affine)


def search(similarity: Similarity, poses: list[np.ndarray]) -> Rigid:
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
        if best.similarity >= _CLEAR:
            break
    return best


def _refine(
    fixed: nib.Nifti1Image,
    moving: nib.Nifti1Image,
    region: nib.Nifti1Image,
    start: np.ndarray,
    finest: float,
    seed: int,
) -> np.ndarray:
    """Run ANTs' Mattes mutual information coarse to fine from `start`.

    ANTs turns about its origin, so both images are first placed such that the region's middle is
    the origin and `start` is the identity; its step sizes then suit rotation and shift alike.
    """
    levels = [mm for mm in _LEVELS_MM if mm >= finest] or [_LEVELS_MM[0]]
    target = isotropic(fixed, finest)
    inside = resample(region, np.eye(4), Grid(target.shape, target.affine)) > 0.5
    mask = nib.Nifti1Image(inside.astype(np.float32), target.affine)
    middle = np.eye(4)
    middle[:3, 3] = (target.affine @ [*ndimage.center_of_mass(inside), 1])[:3]
    back = np.linalg.inv(middle)
    with tempfile.TemporaryDirectory(prefix="wfdm-ants-") as folder:
        result = ants().registration(
            to_ants(target, back),
            to_ants(isotropic(moving, finest), back @ np.linalg.inv(start)),
            mask=to_ants(mask, back),
            type_of_transform="Rigid",
            initial_transform="Identity",
            outprefix=f"{folder}/",
            aff_iterations=tuple(_ITERATIONS[mm] for mm in levels),
            aff_shrink_factors=tuple(max(1, round(mm / finest)) for mm in levels),
            aff_smoothing_sigmas=tuple(
                round(mm / finest / 2) if mm > finest else 0 for mm in levels
            ),
            aff_random_sampling_rate=_SAMPLED,
            random_seed=seed % 2**31,
        )
        found = read_transform(Path(result["fwdtransforms"][0]))
    return start @ middle @ found @ back


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


def about(centre: np.ndarray, rotation: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the 4 x 4 matrix that rotates about `centre` and takes it to `target`."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = target - rotation @ centre
    return matrix


def _upright(similarity: Similarity) -> list[np.ndarray]:
    """Poses as the headers say, and about the centres of mass: nodding by up to 30 degrees."""
    (fixed, _), (moving, _) = similarity.moments()
    return [np.eye(4), *_nodding(fixed, moving)]


def _upright_without_neck(similarity: Similarity) -> list[np.ndarray]:
    """The same about the middle of the head alone."""
    (fixed, _), _ = similarity.moments()
    return _nodding(fixed, head_centre(similarity.moving, np.array([0.0, 0, 1])))


def _nodding(fixed: np.ndarray, moving: np.ndarray) -> list[np.ndarray]:
    nods = [Rotation.from_euler("x", a, degrees=True).as_matrix() for a in (-30, -15, 0, 15, 30)]
    return [about(fixed, nod, moving) for nod in nods]


def head_centre(image: nib.Nifti1Image, up: np.ndarray) -> np.ndarray:
    """Return the centre of mass, in mm, of what lies at most `_HEAD_MM` below the crown.

    Args:
        image: a head, upright or not, with or without neck.
        up: direction (3,) in the world that points to the crown, more or less along one of its
            axes.
    """
    along = image.affine[:3, :3].T @ up
    axis = int(np.abs(along).argmax())
    weight = clipped(np.asarray(image.dataobj))
    weight = np.moveaxis(weight if along[axis] > 0 else np.flip(weight, axis), axis, -1)
    bright = weight.mean(axis=(0, 1))
    crown = int(np.flatnonzero(bright >= _LIT * bright.max())[-1])
    step = float(np.linalg.norm(image.affine[:3, axis]))
    first = max(0, crown + 1 - round(_HEAD_MM / step))
    centre = np.array(ndimage.center_of_mass(weight[..., first : crown + 1]))
    centre[-1] += first
    if along[axis] < 0:
        centre[-1] = weight.shape[-1] - 1 - centre[-1]
    voxel = np.insert(centre[:2], axis, centre[-1])
    return (image.affine @ [*voxel, 1])[:3]


def _principal_axes(similarity: Similarity) -> list[np.ndarray]:
    return laid_on_axes(*similarity.moments())


def laid_on_axes(fixed: Moments, moving: Moments) -> list[np.ndarray]:
    """The four rotations that lay the principal axes of one body along those of another."""
    (centre, axes), (target, theirs) = fixed, moving
    signs = [np.diag(s) for s in itertools.product((1, -1), repeat=3)]
    turns = [theirs @ sign @ axes.T for sign in signs]
    return [about(centre, turn, target) for turn in turns if np.linalg.det(turn) > 0]


def _right_angles(similarity: Similarity) -> list[np.ndarray]:
    """The 24 rotations of a cube about the centres of mass."""
    (fixed, _), (moving, _) = similarity.moments()
    return [about(fixed, turn, moving) for turn in _cube()]


def _right_angles_without_neck(similarity: Similarity) -> list[np.ndarray]:
    """The same about the middle of the head alone, wherever its crown is."""
    (fixed, _), _ = similarity.moments()
    return [about(fixed, turn, head_centre(similarity.moving, turn[:, 2])) for turn in _cube()]


def _cube() -> list[np.ndarray]:
    turns = [
        np.eye(3)[list(axes)] * signs
        for axes in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    return [turn for turn in turns if np.linalg.det(turn) > 0]


UPRIGHT: dict[str, Start] = {"header": _upright, "header, no neck": _upright_without_neck}
STARTS: dict[str, Start] = UPRIGHT | {
    "principal axes": _principal_axes,
    "right angles": _right_angles,
    "right angles, no neck": _right_angles_without_neck,
}
