"""Rigid registration with ANTs, as 4 x 4 matrices in world coordinates (RAS, mm).

Matrices map points of the fixed image to points of the moving one (see `transforms`), so
`mover <- reference <- atlas` is one product and each scan is interpolated once. ANTs only
optimises; `resample` interpolates.
"""

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from wfdm.errors import UserError
from wfdm.preprocess.grid import Grid
from wfdm.preprocess.transforms import ants, read_transform, to_ants

_COARSE_MM = 6.0  # the search for a starting pose
_CHECK_MM = 4.0  # the check of the result
_LEVELS_MM = (4.0, 2.0, 1.0)
_ITERATIONS = {4.0: 30, 2.0: 6, 1.0: 6}
# Similarity in and around the brain, measured on real scans (MS, tumours, slices of 3 to 5.5 mm)
# against the atlas. At 6 mm: T1w 1.050-1.077, other contrasts 1.038-1.065, upside down at most
# 1.033 and 1.040. At 4 mm: 1.027-1.061; noise 1.01. Two scans of one session: 1.04-1.11.
_CLEAR = 1.043  # at 6 mm: no other pose needs to be tried
_ALIGNED = 1.022  # at 4 mm, after refinement: what is accepted
_REACH = np.array([40.0, 40, 40, 60, 60, 60])  # how far one climb may turn (degrees), shift (mm)
_AGAINST_HEADER = 1.2  # a pose that contradicts the header must share this much more information


@dataclass(frozen=True)
class Rigid:
    """A rigid pose: `matrix` maps fixed to moving points; `similarity` is their NMI there."""

    matrix: np.ndarray
    similarity: float


def rigid(
    fixed: nib.Nifti1Image,
    moving: nib.Nifti1Image,
    region: nib.Nifti1Image,
    finest_mm: float,
    seed: int,
    name: str,
) -> Rigid:
    """Register `moving` to `fixed` with six degrees of freedom and mutual information.

    A search at 6 mm gives the starting pose, ANTs refines it. The search starts upright, as the
    headers say; where that leads to no clear match it also starts from the 24 right-angled poses,
    which mends an orientation that a header has wrong.

    Args:
        fixed: image in RAS order, any contrast.
        moving: image in RAS order, any contrast.
        region: 1 where the match counts, on any grid in the world of `fixed`.
        finest_mm: spacing of the finest level in mm; both images are resampled to it first.
        seed: seed of ANTs' metric sampling.
        name: what is registered, for the error message.

    Raises:
        UserError: no start led to an alignment.
    """
    fixed = _cropped(fixed, region)
    coarse = Similarity(fixed, moving, region, _COARSE_MM)
    check = Similarity(fixed, moving, region, _CHECK_MM)
    start = _search(coarse, _upright(coarse))
    if start.similarity < _CLEAR:
        turned = _search(coarse, _right_angles(coarse))
        if turned.similarity - 1 > _AGAINST_HEADER * (start.similarity - 1):
            start = turned
    matrix = _refine(fixed, moving, region, start.matrix, finest_mm, seed)
    found = Rigid(matrix, check(matrix))
    if found.similarity >= _ALIGNED:
        return found
    raise UserError(
        f"{name}: registration failed from every start (similarity {found.similarity:.3f}, "
        f"{_ALIGNED} or more when aligned); check that it shows a whole head, or exclude it"
    )


def resample(image: nib.Nifti1Image, matrix: np.ndarray, grid: Grid, order: int = 1) -> np.ndarray:
    """Interpolate `image` onto `grid`; `matrix` maps grid points to image points (RAS, mm).

    Returns:
        float32 array of `grid.shape`, 0 outside the image. `order` 1 is trilinear.
    """
    voxels = np.linalg.inv(image.affine) @ matrix @ grid.affine
    return ndimage.affine_transform(
        np.asarray(image.dataobj, dtype=np.float32),
        voxels[:3, :3],
        voxels[:3, 3],
        output_shape=grid.shape,
        order=order,
    )


class Similarity:
    """Normalised mutual information (H(a) + H(b)) / H(a, b) of two images, in [1, 2].

    Studholme et al., Pattern Recognition 32 (1999). Taken over the points of `region` on a grid
    of `spacing` mm, 32 bins per image between its lowest value and its 99th percentile there;
    what exceeds 1 is weighed by the share of the points that the moving image covers.
    """

    bins = 32

    def __init__(
        self,
        fixed: nib.Nifti1Image,
        moving: nib.Nifti1Image,
        region: nib.Nifti1Image,
        spacing: float,
    ) -> None:
        grid = isotropic(fixed, spacing)
        inside = resample(region, np.eye(4), Grid(grid.shape, grid.affine)) > 0.5
        voxels = np.argwhere(inside)
        self.points = grid.affine @ np.c_[voxels, np.ones(len(voxels))].T
        self.fixed = self._binned(np.asarray(grid.dataobj)[inside])
        self.moving = isotropic(moving, spacing)
        self._to_voxels = np.linalg.inv(self.moving.affine)
        self._moving = np.asarray(self.moving.dataobj)

    def __call__(self, matrix: np.ndarray) -> float:
        """Return the similarity under `matrix`; 1 where `moving` covers less than half."""
        voxels = (self._to_voxels @ matrix @ self.points)[:3]
        limits = np.array(self._moving.shape)[:, None] - 1
        covered = ((voxels >= 0) & (voxels <= limits)).all(axis=0)
        if covered.mean() < 0.5:
            return 1.0
        values = ndimage.map_coordinates(self._moving, voxels[:, covered], order=1)
        pairs = self.fixed[covered] * self.bins + self._binned(values)
        joint = np.bincount(pairs, minlength=self.bins**2).reshape(self.bins, -1) / pairs.size
        shared = (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / _entropy(joint) - 1
        return float(1 + shared * covered.mean())

    @property
    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the middle of the region and the intensity-weighted middle of `moving`, in mm."""
        weight = np.clip(self._moving - self._moving.min(), 0, np.percentile(self._moving, 99))
        middle = self.moving.affine @ [*ndimage.center_of_mass(weight), 1]
        return self.points[:3].mean(axis=1), middle[:3]

    def _binned(self, values: np.ndarray) -> np.ndarray:
        low, high = values.min(), np.percentile(values, 99)
        scaled = (values - low) * (self.bins / max(high - low, 1e-12))
        return np.clip(scaled.astype(np.int64), 0, self.bins - 1)


def _search(similarity: Similarity, poses: list[np.ndarray]) -> Rigid:
    """Climb from each pose by Powell's method, the likeliest first, until one match is clear."""
    centre = similarity.centres[0]

    def moved(pose: np.ndarray, change: np.ndarray) -> np.ndarray:
        rotation = Rotation.from_rotvec(change[:3], degrees=True).as_matrix()
        return pose @ _about(centre, rotation, centre + change[3:])

    def cost(change: np.ndarray, pose: np.ndarray) -> float:
        # A line search may leap to a head that stands on its own head: hold it to one hill.
        return -similarity(moved(pose, change)) if (np.abs(change) < _REACH).all() else -1.0

    best = Rigid(np.eye(4), 0.0)
    for pose in sorted(poses, key=similarity, reverse=True):
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


def isotropic(image: nib.Nifti1Image, spacing: float) -> nib.Nifti1Image:
    """Smooth and resample `image` to cubic voxels of `spacing` mm along its own axes."""
    lengths = np.linalg.norm(image.affine[:3, :3], axis=0)
    # A Gaussian whose full width at half maximum turns the old voxel into the new one.
    sigma = np.sqrt(np.maximum(spacing**2 - lengths**2, 0)) / 2.355 / lengths
    array = ndimage.gaussian_filter(np.asarray(image.dataobj, dtype=np.float32), sigma, truncate=3)
    extent = np.array(image.shape) * lengths
    shape = tuple(max(2, int(np.ceil(mm / spacing))) for mm in extent)
    affine = image.affine.copy()
    affine[:3, :3] *= spacing / lengths
    middle = image.affine @ [*(np.array(image.shape) - 1) / 2, 1]
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    voxels = np.linalg.inv(image.affine) @ affine
    # The outermost voxels reach half a voxel beyond their centres: repeat them, do not fade.
    cubic = ndimage.affine_transform(
        array, voxels[:3, :3], voxels[:3, 3], output_shape=shape, order=1, mode="nearest"
    )
    return nib.Nifti1Image(cubic, affine)


def _about(centre: np.ndarray, rotation: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the 4 x 4 matrix that rotates about `centre` and takes it to `target`."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = target - rotation @ centre
    return matrix


def _upright(similarity: Similarity) -> list[np.ndarray]:
    """Poses as the headers say, and about the centres: nodding by up to 30 degrees."""
    fixed, moving = similarity.centres
    nods = [Rotation.from_euler("x", a, degrees=True).as_matrix() for a in (-30, -15, 0, 15, 30)]
    return [np.eye(4), *(_about(fixed, nod, moving) for nod in nods)]


def _right_angles(similarity: Similarity) -> list[np.ndarray]:
    """The 24 rotations of a cube about the images' centres."""
    fixed, moving = similarity.centres
    turns = [
        np.eye(3)[list(axes)] * signs
        for axes in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    return [_about(fixed, turn, moving) for turn in turns if np.linalg.det(turn) > 0]


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
