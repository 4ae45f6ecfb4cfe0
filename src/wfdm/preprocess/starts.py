"""Poses to search from: how a head may lie in its field, given what the header tells or nothing."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from wfdm.preprocess.similarity import Moments, Similarity, clipped

Start = Callable[[Similarity], list[np.ndarray]]

_HEAD_MM = 150.0  # from the crown to the base of the brain of a large adult, scalp included
_LIT = 0.25  # of the brightest slice: the first one that bright, from outside, is the crown's
_UPPER_MM = 80.0  # of a brain: the part above the face
_APART_MM = 12.0  # two heights at which it is looked for
_UP = np.array([0.0, 0, 1])


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
    return _nodding(fixed, Head(similarity.moving).below_crown(_UP))


def _upright_at_any_height(similarity: Similarity) -> list[np.ndarray]:
    """The upper half of the brain laid on what lies below each height of the field.

    A bright neck hides the crown, or a dark scalp; and neither face nor jaw pull this middle.
    """
    points = similarity.points[:3]
    fixed = points[:, points[2] > points[2].max() - _UPPER_MM].mean(axis=1)
    centres = Head(similarity.moving).below_any_height(_UP)
    return [pose for centre in centres for pose in _nodding(fixed, centre)]


def _nodding(fixed: np.ndarray, moving: np.ndarray) -> list[np.ndarray]:
    nods = [Rotation.from_euler("x", a, degrees=True).as_matrix() for a in (-30, -15, 0, 15, 30)]
    return [about(fixed, nod, moving) for nod in nods]


class Head:
    """A head, upright or not, with or without neck.

    It is seen as a pile of slices across `up`, a direction (3,) in the world that points to the
    crown, more or less along one of the image's axes; with whatever lies below and above it.
    """

    def __init__(self, image: nib.Nifti1Image) -> None:
        self._affine, self._weight = image.affine, clipped(np.asarray(image.dataobj))

    def below_crown(self, up: np.ndarray) -> np.ndarray:
        """Return the centre of mass, in mm, of what lies at most `_HEAD_MM` below the crown."""
        pile = self._pile(up)
        bright = pile.weight.mean(axis=(0, 1))
        return pile.centre(int(np.flatnonzero(bright >= _LIT * bright.max())[-1]), _HEAD_MM)

    def below_any_height(self, up: np.ndarray) -> list[np.ndarray]:
        """Return the same of `_UPPER_MM` below every height in the field, from the top."""
        pile = self._pile(up)
        lowest, apart = round(_UPPER_MM / pile.step) // 2, max(1, round(_APART_MM / pile.step))
        tops = range(pile.weight.shape[-1] - 1, lowest, -apart)
        return [pile.centre(top, _UPPER_MM) for top in tops]

    def _pile(self, up: np.ndarray) -> "_Pile":
        along = self._affine[:3, :3].T @ up
        axis = int(np.abs(along).argmax())
        turned = bool(along[axis] < 0)
        weight = np.flip(self._weight, axis) if turned else self._weight
        return _Pile(np.moveaxis(weight, axis, -1), self._affine, axis, turned)


@dataclass(frozen=True)
class _Pile:
    """Slices from the lowest to the highest, on the last axis, which is the image's `axis`."""

    weight: np.ndarray
    affine: np.ndarray
    axis: int
    turned: bool

    @property
    def step(self) -> float:
        """Return mm from slice to slice."""
        return float(np.linalg.norm(self.affine[:3, self.axis]))

    def centre(self, top: int, mm: float) -> np.ndarray:
        """Return the centre of mass, in mm, of the slices that lie at most so far below one."""
        first = max(0, top + 1 - round(mm / self.step))
        centre = np.array(ndimage.center_of_mass(self.weight[..., first : top + 1]))
        centre[-1] += first
        if self.turned:
            centre[-1] = self.weight.shape[-1] - 1 - centre[-1]
        voxel = np.insert(centre[:2], self.axis, centre[-1])
        return (self.affine @ [*voxel, 1])[:3]


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
    head, turns = Head(similarity.moving), _cube()
    middles = {up: head.below_crown(np.array(up)) for up in {tuple(turn[:, 2]) for turn in turns}}
    return [about(fixed, turn, middles[tuple(turn[:, 2])]) for turn in turns]


def _cube() -> list[np.ndarray]:
    turns = [
        np.eye(3)[list(axes)] * signs
        for axes in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    return [turn for turn in turns if np.linalg.det(turn) > 0]


# In the order in which they are tried.
UPRIGHT: dict[str, Start] = {
    "header": _upright,
    "header, no neck": _upright_without_neck,
    "header, any height": _upright_at_any_height,
}
STARTS: dict[str, Start] = UPRIGHT | {
    "principal axes": _principal_axes,
    "right angles": _right_angles,
    "right angles, no neck": _right_angles_without_neck,
}
