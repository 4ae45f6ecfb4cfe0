"""What a NIfTI header claims, made one claim or refused: voxel type, scaling, forms, units.

A header tells the voxels' place up to three times: by the sform, by the qform, and by `pixdim`.
Two that differ by a rotation or a shift place the same head elsewhere, which registration mends.
Two that differ in size or in handedness show another brain, and nothing tells which is true.
The sform may tell of another space (aligned, MNI), so only these two are compared.
"""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from wfdm.errors import UserError
from wfdm.log import log

_NIFTI2_SIZE = 540
_MAGIC = (b"n+1", b"n+2")
_TO_MM = {1: 1e3, 3: 1e-3}
"""by the code of the spatial unit: metres, micrometres; no unit, or another one, is taken as mm"""
_TOLERANCE = 0.01  # share of a voxel: over a head of 200 mm that is 2 mm
_ROUNDED = 1.001  # length of a quaternion's vector that rounding can make of 1
_PLAUSIBLE_MM = (0.02, 50.0)
_MEND = "find out which is true, and correct the other"


def mended(path: Path, content: bytes) -> bytes:
    """Return a NIfTI file with what has one meaning only written so that readers take it.

    That are a quaternion rounded to more than a rotation, an intercept or a slope that is no number
    (none, as the NIfTI library reads it), and an sform that is all zeros (none).

    Raises:
        UserError: it holds no real numbers, or the qform is no rotation.
        HeaderDataError, ValueError: it is no NIfTI file.
    """
    nifti2 = _NIFTI2_SIZE in (int.from_bytes(content[:4], order) for order in ("little", "big"))
    kind = nib.Nifti2Header if nifti2 else nib.Nifti1Header
    size = kind.template_dtype.itemsize
    if len(content) < size:
        raise HeaderDataError("shorter than a header")
    header = kind(content[:size], check=False)
    if header["magic"].item()[:3] not in _MAGIC:
        raise HeaderDataError("another magic number")
    _check_type(path, header)
    before = header.binaryblock
    _mend_scaling(path, header)
    _mend_forms(path, header)
    after = header.binaryblock
    return content if after == before else after + content[size:]


def affine_mm(path: Path, image: nib.Nifti1Image) -> np.ndarray:
    """Return the affine (4, 4) from voxels to mm, once the header agrees with itself.

    Raises:
        UserError: it places the voxels nowhere, on no right-angled grid, or in two ways.
    """
    header = image.header
    scale = _TO_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    affine = np.diag([scale, scale, scale, 1.0]) @ image.affine
    _check_affine(path, affine)
    if header["sform_code"]:
        _check_agreement(path, header, image.affine)
    elif not header["qform_code"]:
        log.warning(
            f"{path}: the header gives no orientation; left and right are taken from the order of "
            "the voxels (stored left-handed, as in ANALYZE)"
        )
    return affine


def _check_type(path: Path, header: Any) -> None:
    kind = header.get_data_dtype()
    if kind.kind == "c":
        raise UserError(f"{path}: complex voxels ({kind}); give the magnitude, or exclude the scan")
    if kind.fields:
        raise UserError(
            f"{path}: colour voxels ({''.join(kind.names)}), no intensities; give the scan itself, "
            "or exclude it"
        )
    if kind.kind not in "iuf":
        raise UserError(f"{path}: its voxels are no numbers ({kind}); exclude the scan")


def _mend_scaling(path: Path, header: Any) -> None:
    slope, intercept = (float(header[key]) for key in ("scl_slope", "scl_inter"))
    if np.isinf(slope) or (slope != 0 and np.isfinite(slope) and not np.isfinite(intercept)):
        log.warning(
            f"{path}: the header scales by {slope:g} and adds {intercept:g}; what is no number "
            "there is left out"
        )
    if not np.isfinite(slope):
        header["scl_slope"] = 0  # none
    if not np.isfinite(intercept):
        header["scl_inter"] = 0


def _mend_forms(path: Path, header: Any) -> None:
    if header["qform_code"]:
        vector = np.array([header[f"quatern_{part}"] for part in "bcd"], np.float64)
        length = float(np.linalg.norm(vector))
        if not length <= _ROUNDED:
            raise UserError(
                f"{path}: the qform is no rotation (its quaternion has the length {length:g}); "
                "repair the header"
            )
        if length > 1:
            for part, value in zip("bcd", vector / length, strict=True):
                header[f"quatern_{part}"] = value
    rows = [header[f"srow_{axis}"] for axis in "xyz"]
    if header["sform_code"] and header["qform_code"] and not np.any(rows):
        log.warning(f"{path}: the sform is empty; the qform says where the voxels are")
        header["sform_code"] = 0


def _check_affine(path: Path, affine: np.ndarray) -> None:
    """Refuse an affine that places the voxels nowhere or not on a right-angled grid."""
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or (lengths < 1e-9).any():
        raise UserError(f"{path}: the affine is singular; repair the header's sform or qform")
    cosines = (axes / lengths).T @ (axes / lengths)
    if abs(np.linalg.det(axes / lengths)) < 1e-3:
        raise UserError(f"{path}: the affine is singular; repair the header's sform or qform")
    if np.abs(cosines - np.eye(3)).max() > 0.01:
        raise UserError(f"{path}: the affine is sheared; resample it to right-angled voxels")
    low, high = _PLAUSIBLE_MM
    if lengths.min() < low or lengths.max() > high:
        raise UserError(
            f"{path}: voxels of {_sizes(lengths)} mm; correct the header's sizes, or its unit"
        )


def _check_agreement(path: Path, header: Any, affine: np.ndarray) -> None:
    """Refuse an sform that tells of other voxels than `pixdim`, or of a mirrored head."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    told = np.abs(np.array(header["pixdim"][1:4], np.float64))
    unset = not header["qform_code"] and (told == 1).all()  # what a header begins with
    if not unset and (told > 0).all() and (np.abs(sizes / told - 1) > _TOLERANCE).any():
        raise UserError(
            f"{path}: the header contradicts itself: voxels of {_sizes(sizes)} by its sform, of "
            f"{_sizes(told)} by its pixdim and qform; {_MEND}"
        )
    right_handed = header["pixdim"][0] >= 0
    if header["qform_code"] and (np.linalg.det(affine[:3, :3]) > 0) != right_handed:
        raise UserError(
            f"{path}: the header contradicts itself: its sform is the mirror image of its qform, "
            f"so left and right are unknown; {_MEND}"
        )


def _sizes(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)
