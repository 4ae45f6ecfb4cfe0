"""The last step of a registration: ascent of mutual information over every point, none drawn.

ANTs' bins span all that the moving image holds, a neck as bright as may be too, and its metric is
of a drawn sample: two scans of one head, with and without neck, end 1 to 2 mm apart. Here the
bins span what lies in the region, no point is drawn, the histogram is smooth in the pose and its
gradient exact: one optimum, which both scans share.
"""

import itertools

import nibabel as nib
import numpy as np
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from wfdm.preprocess.similarity import within

# Deviation, in voxels of the fixed image. On a grid an image is sharper than between its voxels, so
# that mutual information jumps wherever two grids meet (Pluim et al., CVIU 77 (2000)): on real
# scans another start led up to 1.2 mm off. Smoother images have one end, within 0.03 mm.
_SMOOTH = 1.0
_POINTS_MM = 2.0  # apart, at least, are the points that count
_RADIUS_MM = 60.0  # of a brain: a turn is measured by how far it moves the rim
_STEPS = 30  # at most; 10 to 20 are taken


class MutualInformation:
    """Mutual information (nats) of two images as a smooth function of six parameters.

    Mattes et al., IEEE TMI 22 (2003), eq. 10 to 14: the joint histogram takes each point's value in
    the fixed image as it is and spreads that in the moving image over four bins by the cubic
    B-spline, Thevenaz and Unser, IEEE TIP 9 (2000):

        p(k, l) = 1/n sum_i [bin of f(x_i) is k] B3(m(T x_i) - l),  I = sum p log(p / (p_f p_m))
        dI/dT = 1/n sum_i sum_l B3'(m(T x_i) - l) log(p(k_i, l) / p_m(l)) grad m(T x_i)

    The parameters, all in mm, turn about the points' middle (rotation vector times `_RADIUS_MM`)
    and shift, before `start`.
    """

    bins = 32

    def __init__(
        self,
        fixed: nib.Nifti1Image,
        moving: nib.Nifti1Image,
        region: nib.Nifti1Image,
        start: np.ndarray,
    ) -> None:
        """Take the points of `region` that `moving` covers under `start`.

        Args:
            fixed: image with cubic voxels.
            moving: the same.
            region: 1 where the match counts, on any grid in the world of `fixed`.
            start: matrix (4, 4) from fixed to moving points.
        """
        inside = within(region, fixed)
        # A smooth image needs no more points than that: at 1 mm they take an eighth of the time.
        step = max(1, round(_POINTS_MM / _side(fixed)))
        voxels = step * np.argwhere(inside[::step, ::step, ::step])
        points = (fixed.affine @ np.c_[voxels, np.ones(len(voxels))].T)[:3]
        blur = _SMOOTH * _side(fixed)
        fixed_array, self._moving = (
            ndimage.gaussian_filter(
                np.asarray(image.dataobj, np.float32), blur / _side(image), truncate=3
            )
            for image in (fixed, moving)
        )
        self._limit = np.array(moving.shape)[:, None] - 2
        self._start, self._to_voxels = start, np.linalg.inv(moving.affine)
        self.centre = points.mean(axis=1)
        at = self._voxels(points - self.centre[:, None], np.eye(4))
        seen = ((at >= 0) & (at <= self._limit + 1)).all(axis=0)
        seen |= not seen.any()  # a field that shows none of it: edges only, which nobody accepts
        self._offsets = (points[:, seen] - self.centre[:, None]).astype(np.float32)
        values = fixed_array[tuple(voxels[seen].T)]
        self._fixed = _scaled(values, *_range(values), self.bins - 1e-3).astype(np.int64)
        # A bright neck or vessel elsewhere must not take the bins: only what lies here sets them.
        self._range = _range(self._interpolated(at[:, seen])[0])

    def pose(self, parameters: np.ndarray) -> np.ndarray:
        """Return the matrix (4, 4) from fixed to moving points that the parameters (6,) mean."""
        return self._start @ self._move(parameters)

    def __call__(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Return minus the mutual information and its gradient (6,)."""
        move = self._move(parameters)
        values, slopes = self._interpolated(self._voxels(self._offsets, move))
        low, high = self._range
        width = (high - low) / (self.bins - 1)
        # One bin more at each end holds what the splines spread beyond it.
        place = _scaled(values, low, high, self.bins - 1) + 1
        first = np.minimum(place.astype(np.int64), self.bins - 1)
        weights, changes = _spline(place - first)
        across = self.bins + 2
        cells = [self._fixed * across + first + (j - 1) for j in range(4)]
        spread = map(np.bincount, cells, weights, itertools.repeat(self.bins * across))
        joint = np.sum(list(spread), axis=0).reshape(self.bins, across) / len(values)
        ours, theirs = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
        filled = joint > 0
        ratio = np.where(filled, joint, 1) / np.where(filled, theirs, 1)
        information = float((joint * np.log(np.where(filled, ratio / ours, 1))).sum())
        log = np.log(ratio).ravel()
        parts = [part * log[cell] for cell, part in zip(cells, changes, strict=True)]
        change = np.sum(parts, axis=0)
        clipped = (values <= low) | (values >= high)
        pull = slopes * np.where(clipped, 0, change / (width * len(values))).astype(np.float32)
        return -information, -self._gradient(parameters, move, pull)

    def _gradient(self, parameters: np.ndarray, move: np.ndarray, pull: np.ndarray) -> np.ndarray:
        """Return the gradient (6,) of what `pull` (3, n) is at each point per voxel of `moving`."""
        to_voxels = (self._to_voxels @ self._start)[:3, :3].T
        force = to_voxels @ pull.sum(axis=1, dtype=np.float64)
        moments = np.einsum("in,jn->ij", self._offsets, pull, dtype=np.float64)
        tensor = move[:3, :3] @ moments @ to_voxels.T
        torque = np.array([tensor[j, k] - tensor[k, j] for j, k in ((1, 2), (2, 0), (0, 1))])
        return np.r_[_left_jacobian(parameters[:3] / _RADIUS_MM).T @ torque / _RADIUS_MM, force]

    def _move(self, parameters: np.ndarray) -> np.ndarray:
        turn, centre = np.eye(4), self.centre
        turn[:3, :3] = Rotation.from_rotvec(parameters[:3] / _RADIUS_MM).as_matrix()
        turn[:3, 3] = centre + parameters[3:] - turn[:3, :3] @ centre
        return turn

    def _voxels(self, offsets: np.ndarray, move: np.ndarray) -> np.ndarray:
        """Return where in `moving` points (3, n) lie, `offsets` off the centre and moved so."""
        matrix = self._to_voxels @ self._start @ move
        middle = (matrix @ [*self.centre, 1])[:3, None]
        turned = np.einsum("ij,jn->in", matrix[:3, :3].astype(offsets.dtype), offsets)
        return turned + middle.astype(offsets.dtype)

    def _interpolated(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return trilinear values (n,) at voxels (3, n) and their slopes (3, n) per voxel."""
        base = np.clip(np.floor(at), 0, self._limit).astype(np.int64)
        x, y, z = np.clip(at - base, 0, 1).astype(np.float32)  # beyond the edge as at the edge
        strides = np.array(self._moving.strides) // self._moving.itemsize
        flat, cell = self._moving.ravel(), strides @ base

        def edge(j: int, k: int) -> tuple[np.ndarray, np.ndarray]:
            """Return value and slope where x lies on one of the four edges along it."""
            near = flat[cell + strides @ (0, j, k)]
            rise = flat[cell + strides @ (1, j, k)] - near
            return near + x * rise, rise

        def face(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            (near, along), (far, along_far) = edge(0, k), edge(1, k)
            rise = far - near
            return near + y * rise, along + y * (along_far - along), rise

        below, above = face(0), face(1)
        value, *slopes = (low + z * (high - low) for low, high in zip(below, above, strict=True))
        return value, np.stack([*slopes, above[0] - below[0]])


def ascend(
    fixed: nib.Nifti1Image,
    moving: nib.Nifti1Image,
    region: nib.Nifti1Image,
    start: np.ndarray,
) -> np.ndarray:
    """Return the rigid matrix at the maximum of mutual information next to `start`.

    Args:
        fixed: image with cubic voxels; all of them in `region` count.
        moving: image with cubic voxels, finer ones or as fine.
        region: 1 where the match counts, on any grid in the world of `fixed`.
        start: matrix (4, 4) from fixed to moving points, a few mm off at most.
    """
    information = MutualInformation(fixed, moving, region, start)
    found = optimize.minimize(
        information,
        np.zeros(6),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _STEPS, "ftol": 1e-7, "gtol": 1e-6},
    )
    return information.pose(found.x)


def _side(image: nib.Nifti1Image) -> float:
    """Return the side of its cubic voxels, in mm."""
    return float(np.linalg.norm(image.affine[:3, 0]))


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the lowest value and the 99th percentile, at least a little above it."""
    low, high = float(values.min()), float(np.percentile(values, 99))
    return low, max(high, low + 1e-12)


def _scaled(values: np.ndarray, low: float, high: float, to: float) -> np.ndarray:
    return np.clip((values - low) * (to / (high - low)), 0, to)


def _spline(share: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the cubic B-spline's four weights `share` beyond a bin, and their slopes."""
    rest = 1 - share
    near, far = share * share / 2, rest * rest / 2
    weights = [
        far * rest / 3,
        2 / 3 - near * (2 - share),
        2 / 3 - far * (2 - rest),
        near * share / 3,
    ]
    slopes = [-far, 3 * near - 2 * share, 2 * rest - 3 * far, near]
    return weights, slopes


def _left_jacobian(vector: np.ndarray) -> np.ndarray:
    """Return how a change of a rotation vector (3,) turns what it has turned already (3, 3).

    Sola et al., arXiv 1812.01537, eq. 145: d(R(w) q) = -[R q]x J(w) dw.
    """
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-4:
        return np.eye(3) + cross / 2
    first = (1 - np.cos(angle)) / angle**2
    second = (angle - np.sin(angle)) / angle**3
    return np.eye(3) + first * cross + second * cross @ cross
