"""The middle slices of a volume in three planes, as a neurologist's viewer shows them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plane:
    """A plane through the middle of a RAS volume (1, R, A, S).

    Attributes:
        name: of the plane.
        sides: letters of what is on the left and on the right of its image.
        image: a volume's middle slice as rows of an image, the top row first.
    """

    name: str
    sides: str
    image: Callable[[np.ndarray], np.ndarray]


def axial(volume: np.ndarray) -> np.ndarray:
    """Return the middle axial slice of a RAS volume (1, R, A, S) as rows of an image.

    Neurological convention: columns run from left to right of the brain, rows from anterior
    (top) to posterior.
    """
    return volume[0, :, ::-1, volume.shape[3] // 2].T


def coronal(volume: np.ndarray) -> np.ndarray:
    """Return the middle coronal slice: columns from left to right, rows from superior down."""
    return volume[0, :, volume.shape[2] // 2, ::-1].T


def sagittal(volume: np.ndarray) -> np.ndarray:
    """Return the middle sagittal slice: columns from anterior back, rows from superior down."""
    return volume[0, volume.shape[1] // 2, ::-1, ::-1].T


AXIAL = Plane("Axial", "LR", axial)
CORONAL = Plane("Coronal", "LR", coronal)
SAGITTAL = Plane("Sagittal", "AP", sagittal)
PLANES = (AXIAL, CORONAL, SAGITTAL)
