"""Images from disk, checked, and the tensor that every model sees."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from wfdm.atomic import atomic_path
from wfdm.config.volumes import VolumeSettings
from wfdm.data.grid import sri24_grid
from wfdm.data.headers import affine_mm, mended
from wfdm.errors import UserError, unreadable

UNIT = "unit"
"""range of a sample whose generator makes volumes in [0, 1], as models see them"""
_NIFTI2_HEADER = (540).to_bytes(4, "little"), (540).to_bytes(4, "big")


def read_image(path: Path | str) -> nib.Nifti1Image:
    """Read one 3D image, whole and checked, into memory.

    Args:
        path: a `.nii` or `.nii.gz` file. A trailing dimension of 1 is dropped.

    Returns:
        The image in RAS order (closest axes), float32, scaled as its header says.

    Raises:
        UserError: the file is missing, unreadable, not NIfTI or cut short; the image is not 3D,
            holds no real numbers, has NaN or infinite voxels, or one single value; the affine
            cannot be inverted, is sheared, or stands in the header twice and differently.
    """
    path = Path(path)
    image = _parse(path, _content(path))
    affine = affine_mm(path, image)
    try:
        array = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, ValueError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: the voxels cannot be read ({reason}); fetch it again") from error
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    _check_voxels(path, array)
    return nib.as_closest_canonical(nib.Nifti1Image(array, affine))


def standardise(array: np.ndarray, settings: VolumeSettings) -> np.ndarray:
    """Return the tensor that models see, (1, *settings.shape) float32 in [0, 1].

    Args:
        array: one volume in RAS order, shape (R, A, S), any finite intensities.
        settings: target shape and percentiles p, q.

    Centre crop or pad with zeros (MONAI's `ResizeWithPadOrCrop` convention), then
    clip((x - x_p) / (x_q - x_p), 0, 1) with percentiles over the whole cropped array.

    Raises:
        UserError: the percentiles coincide, so there is no intensity scale.
    """
    cropped = _crop_or_pad(np.asarray(array, dtype=np.float32), settings.shape)
    return rescale(cropped, settings.percentiles)[None]


def load_standardised(path: Path | str, settings: VolumeSettings) -> np.ndarray:
    """Read one preprocessed volume as models see it: `standardise` of `read_image`."""
    try:
        return standardise(np.asarray(read_image(path).dataobj), settings)
    except UserError as error:
        text = str(error)
        raise UserError(text if str(path) in text else f"{path}: {text}") from error


def load_scan(scan: Mapping[str, Any], settings: VolumeSettings) -> np.ndarray:
    """Read the volume of a row of a table of scans or samples as models see it.

    A real scan is standardised. A sample whose row has the range UNIT is as its generator means it:
    it is only placed on the grid and clipped to [0, 1], for percentiles of its own would hide that
    it is too bright, too dark or too flat.

    Args:
        scan: path, and of a sample its range.
        settings: of the tensor that every model sees.

    Returns:
        (1, *settings.shape) float32 in [0, 1].
    """
    if scan.get("range") != UNIT:
        return load_standardised(scan["path"], settings)
    image = read_image(scan["path"])
    placed = _crop_or_pad(np.asarray(image.dataobj, dtype=np.float32), settings.shape)
    return placed.clip(0, 1)[None]


def rescale(
    array: np.ndarray, percentiles: tuple[float, float], over: np.ndarray | None = None
) -> np.ndarray:
    """Map two percentiles of `over` (by default `array`) to 0 and 1 in `array` and clip; float32.

    Raises:
        UserError: both percentiles are the same value.
    """
    low, high = np.percentile(array if over is None else over, percentiles)
    if not high > low:
        raise UserError(
            f"percentiles {percentiles[0]:g} and {percentiles[1]:g} are both {low:g}: "
            "there is hardly any signal; look at the volume and exclude it"
        )
    scaled = (array - np.float32(low)) / np.float32(high - low)
    return np.clip(scaled, 0, 1, dtype=np.float32)


def write_nifti(
    path: Path | str, array: np.ndarray, affine: np.ndarray, description: bytes = b""
) -> None:
    """Write a volume atomically; its bytes depend on the arguments alone: no time, no name.

    Args:
        path: a .nii.gz file.
        array: (R, A, S), of the type to be stored.
        affine: (4, 4) voxels to mm, in RAS and scanner space (BIDS: an atlas grid).
        description: for the header's `descrip`.
    """
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code="scanner")
    image.set_sform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=4, mtime=0))


def model_affine(shape: tuple[int, int, int], spacing: float) -> np.ndarray:
    """Return the 4 x 4 RAS affine (mm) of what `standardise` cuts from the SRI-24 grid."""
    grid = sri24_grid(spacing)
    first = [_offset(size, target) for size, target in zip(grid.shape, shape, strict=True)]
    affine = grid.affine.copy()
    affine[:3, 3] += spacing * np.array(first)
    return affine


def _content(path: Path) -> bytes:
    """Return the file's bytes, decompressed to the end so that its checksum is verified."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(
            f"{path}: cut short or damaged ({error}); fetch it again, or remove it and make it "
            "again (--forcerun preprocess; a sample: --forcerun sample)"
        ) from error


def _parse(path: Path, content: bytes) -> nib.Nifti1Image:
    kind = nib.Nifti2Image if content[:4] in _NIFTI2_HEADER else nib.Nifti1Image
    try:
        return kind.from_bytes(mended(path, content))
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError) as error:
        raise UserError(f"{path}: not a NIfTI image; convert it to .nii.gz") from error


def _check_voxels(path: Path, array: np.ndarray) -> None:
    if array.ndim != 3 or min(array.shape) < 2:
        size = " x ".join(map(str, array.shape))
        raise UserError(f"{path}: {array.ndim}D ({size}), not one 3D volume; extract one")
    broken = int(array.size - np.isfinite(array).sum())
    if broken:
        raise UserError(f"{path}: {broken} voxels are NaN or infinite; exclude or repair it")
    if array.min() == array.max():
        raise UserError(f"{path}: every voxel is {array.flat[0]:g}; exclude it or fetch it again")


def _offset(size: int, target: int) -> int:
    """Return the first source voxel of the target; negative where padding comes first."""
    return size // 2 - target // 2 if size >= target else -((target - size) // 2)


def _crop_or_pad(array: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    result = np.zeros(shape, dtype=array.dtype)
    source, target = [], []
    for size, wanted in zip(array.shape, shape, strict=True):
        first = _offset(size, wanted)
        count = min(size, wanted)
        source.append(slice(max(first, 0), max(first, 0) + count))
        target.append(slice(max(-first, 0), max(-first, 0) + count))
    result[tuple(target)] = array[tuple(source)]
    return result
