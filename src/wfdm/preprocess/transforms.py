"""Between our matrices and ANTs: images, transform files, and the import itself.

A rigid transform is a 4 x 4 matrix in world coordinates (RAS, mm) that maps points of the fixed
image to points of the moving one: the direction that resampling needs and ITK files hold.
"""

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from wfdm.atomic import atomic_path

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world is LPS, NIfTI's is RAS


def ants() -> Any:
    """Import ANTs, held to one thread: only then do repeated runs give identical bytes."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    import ants as module  # 3.5 s, once a process

    return module


def to_ants(image: nib.Nifti1Image, move: np.ndarray) -> Any:
    """Return `image` as an ANTs image, its place in the world changed by `move` (4 x 4, RAS)."""
    affine = LPS @ move @ image.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return ants().from_numpy(
        np.asarray(image.dataobj, dtype=np.float32),
        origin=[float(x) for x in affine[:3, 3]],
        spacing=[float(x) for x in spacing],
        direction=affine[:3, :3] / spacing,
    )


def write_transform(path: Path, matrix: np.ndarray) -> None:
    """Write `matrix` (RAS, fixed to moving points) as an ITK transform, the file ANTs applies."""
    lps = LPS @ matrix @ LPS
    transform = ants().create_ants_transform(
        transform_type="AffineTransform",
        dimension=3,
        matrix=lps[:3, :3],
        translation=lps[:3, 3],
        center=[0.0, 0.0, 0.0],
    )
    with atomic_path(path) as temporary:
        ants().write_transform(transform, str(temporary))


def read_transform(path: Path) -> np.ndarray:
    """Return the 4 x 4 RAS matrix of an ITK linear transform file."""
    transform = ants().read_transform(str(path))
    origin = np.array(transform.apply_to_point((0.0, 0.0, 0.0)))
    lps = np.eye(4)
    lps[:3, 3] = origin
    for axis in range(3):
        lps[:3, axis] = np.array(transform.apply_to_point(np.eye(3)[axis])) - origin
    return LPS @ lps @ LPS
