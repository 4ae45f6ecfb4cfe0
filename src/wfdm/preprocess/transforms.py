"""Between our matrices and ANTs: images, transform files, and the import itself.

A rigid transform is a 4 x 4 matrix in world coordinates (RAS, mm) that maps points of the fixed
image to points of the moving one: the direction that resampling needs and ITK files hold.
"""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np

from wfdm.atomic import atomic_path

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world is LPS, NIfTI's is RAS

# Only ANTs' regression helpers use these, and they take half of the time of `import ants`.
_NOT_NEEDED = (
    "sklearn.linear_model",
    "sklearn.preprocessing",
    "statsmodels.api",
    "statsmodels.formula.api",
)


def ants() -> Any:
    """Import ANTs, held to one thread: only then do repeated runs give identical bytes."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    if "ants" not in sys.modules:
        _import_lightly()
    return sys.modules["ants"]


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


class _Absent(ModuleType):
    """Stands in for a module during an import; so does whatever is taken from it."""

    def __getattr__(self, name: str) -> "_Absent":
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")


def _import_lightly() -> None:
    """Import ants without the modules of `_NOT_NEEDED` that nobody has imported before."""
    names = {part for name in _NOT_NEEDED for part in _with_parents(name)}
    standing_in = {name: _Absent(name) for name in names if name not in sys.modules}
    sys.modules.update(standing_in)
    try:
        import ants  # noqa: F401
    finally:
        for name in standing_in:
            del sys.modules[name]


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]
