"""How well two images agree in a pose, and resampling of images."""

import nibabel as nib
import numpy as np
from scipy import ndimage

from wfdm.data.grid import Grid

# The middle of a body, shape (3,), and its principal axes as columns (3, 3), the longest last.
Moments = tuple[np.ndarray, np.ndarray]


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


def within(region: nib.Nifti1Image, image: nib.Nifti1Image) -> np.ndarray:
    """Return which voxels of `image` (boolean, its shape) lie where `region` is 1, on any grid."""
    return resample(region, np.eye(4), Grid(image.shape, image.affine)) > 0.5


def smoothed(image: nib.Nifti1Image, spacing: float) -> nib.Nifti1Image:
    """Return `image` as blurred as voxels of `spacing` mm are, axes already as coarse left alone.

    Sampled on a coarser grid, what is finer than its voxels would come back as noise (aliasing).
    """
    lengths = np.linalg.norm(image.affine[:3, :3], axis=0)
    array = np.asarray(image.dataobj, dtype=np.float32)
    sigma = [_deviation(spacing / length) for length in lengths]
    return nib.Nifti1Image(ndimage.gaussian_filter(array, sigma, truncate=3), image.affine)


def moments(points: np.ndarray, weight: np.ndarray | None = None) -> Moments:
    """Return the weighted middle and principal axes of points (3, n)."""
    covariance = np.cov(points, aweights=weight)
    return np.average(points, axis=1, weights=weight), np.linalg.eigh(covariance)[1]


def clipped(array: np.ndarray) -> np.ndarray:
    """Return intensities as weights of mass: from 0, few bright voxels no heavier than others."""
    return np.clip(array - array.min(), 0, np.percentile(array, 99))


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
        inside = within(region, grid)
        voxels = np.argwhere(inside)
        self.points = grid.affine @ np.c_[voxels, np.ones(len(voxels))].T
        self.fixed = self._binned(np.asarray(grid.dataobj)[inside])
        self.moving = isotropic(moving, spacing)
        self._to_voxels = np.linalg.inv(self.moving.affine)
        self._moving = np.asarray(self.moving.dataobj)

    def __call__(self, matrix: np.ndarray) -> float:
        """Return the similarity under `matrix`; 1 where `moving` covers less than half."""
        voxels, covered = self._seen(matrix)
        if covered.mean() < 0.5:
            return 1.0
        values = ndimage.map_coordinates(self._moving, voxels[:, covered], order=1)
        pairs = self.fixed[covered] * self.bins + self._binned(values)
        joint = np.bincount(pairs, minlength=self.bins**2).reshape(self.bins, -1) / pairs.size
        shared = (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / _entropy(joint) - 1
        return float(1 + shared * covered.mean())

    def coverage(self, matrix: np.ndarray) -> float:
        """Return the share of the region that lies in the field of `moving` under `matrix`."""
        return float(self._seen(matrix)[1].mean())

    def _seen(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        voxels = (self._to_voxels @ matrix @ self.points)[:3]
        limits = np.array(self._moving.shape)[:, None] - 1
        return voxels, ((voxels >= 0) & (voxels <= limits)).all(axis=0)

    def moments(self) -> tuple[Moments, Moments]:
        """Return the moments, in mm, of the region and of the moving image's intensity."""
        weight = clipped(self._moving)
        voxels = np.argwhere(weight > 0)
        points = (self.moving.affine @ np.c_[voxels, np.ones(len(voxels))].T)[:3]
        return moments(self.points[:3]), moments(points, weight[weight > 0])

    def _binned(self, values: np.ndarray) -> np.ndarray:
        low, high = values.min(), np.percentile(values, 99)
        scaled = (values - low) * (self.bins / max(high - low, 1e-12))
        return np.clip(scaled.astype(np.int64), 0, self.bins - 1)


def isotropic(image: nib.Nifti1Image, spacing: float) -> nib.Nifti1Image:
    """Smooth and resample `image` to cubic voxels of `spacing` mm along its own axes.

    Smoothing and interpolation are linear and separable: one small matrix per axis does both.
    """
    lengths = np.linalg.norm(image.affine[:3, :3], axis=0)
    array = np.asarray(image.dataobj, dtype=np.float32)
    affine = image.affine.copy()
    affine[:3, :3] *= spacing / lengths
    first = np.zeros(3)
    for axis, (size, length) in enumerate(zip(image.shape, lengths, strict=True)):
        weights, first[axis] = _resampling(size, length, spacing)
        # Contracting the first axis and appending the new one cycles through all three.
        array = np.tensordot(array, weights, axes=(0, 1))
    affine[:3, 3] = (image.affine @ [*first, 1])[:3]
    return nib.Nifti1Image(array, affine)


def _resampling(size: int, length: float, spacing: float) -> tuple[np.ndarray, float]:
    """Return the matrix (new, old) that resamples one axis, and where its first voxel lies.

    Smoothing by `_deviation`, then linear interpolation. The outermost voxels reach half a voxel
    beyond their centres: they are repeated there.
    """
    count = max(2, int(np.ceil(size * length / spacing)))
    step = spacing / length
    first = (size - 1) / 2 - step * (count - 1) / 2
    at = np.clip(first + step * np.arange(count), 0, size - 1)
    below = np.minimum(at.astype(int), size - 2)
    share = (at - below)[:, None]
    smooth = np.eye(size)
    if sigma := _deviation(step):
        smooth = ndimage.gaussian_filter1d(smooth, sigma, axis=0, truncate=3)
    weights = (1 - share) * smooth[below] + share * smooth[below + 1]
    return weights.astype(np.float32), first


def _deviation(step: float) -> float:
    """Return the deviation, in old voxels, of the Gaussian that makes a voxel `step` old ones wide.

    Full widths at half maximum add up in squares: 1 (the old voxel) and the Gaussian's give step.
    """
    return float(np.sqrt(step**2 - 1) / 2.355) if step > 1.01 else 0.0


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
