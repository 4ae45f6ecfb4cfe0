"""Segmentations that a generator is asked to fill: a folder of label maps."""

from pathlib import Path

import nibabel as nib
import numpy as np

from wfdm.data.volumes import read_image
from wfdm.errors import UserError

BRAIN = 4
"""the brain without tumour, beside 1 (necrosis), 2 (oedema) and 3 (enhancing tumour)"""
PATTERN = "*seg.nii.gz"
T1 = ("t1.nii.gz", "t1n.nii.gz")  # BraTS to 2021, and since 2023


def listed(folder: Path | str) -> list[Path]:
    """Return every label map below `folder`, sorted.

    Raises:
        UserError: there is none.
    """
    found = sorted(Path(folder).rglob(PATTERN))
    if not found:
        raise UserError(f"{folder} holds no segmentation: place files there called {PATTERN}")
    return found


def read_mask(path: Path) -> nib.Nifti1Image:
    """Return a label map in RAS order with the labels 1, 2, 3 and BRAIN, int16.

    Beside a T1w scan of the same name, as BraTS gives it (`..._seg`, `..._t1` or `...-seg`,
    `...-t1n`), the brain is where that is above its smallest value, and 3 or 4 is enhancing tumour.
    Alone, a map has all four labels itself.

    Raises:
        UserError: it has other labels, or tells of no brain.
    """
    image = read_image(path)
    labels = np.asarray(image.dataobj).round().astype(np.int16)
    if others := sorted(set(np.unique(labels)) - {0, 1, 2, 3, BRAIN}):
        raise UserError(f"{path}: has the label {others[0]}; a segmentation has 0 to {BRAIN}")
    stem = path.name.removesuffix(PATTERN.lstrip("*"))
    scans = [path.with_name(stem + name) for name in T1]
    if scan := next((each for each in scans if each.is_file()), None):
        t1 = np.asarray(read_image(scan).dataobj)
        if t1.shape != labels.shape:
            raise UserError(f"{path} and {scan.name} are of two sizes: {labels.shape}, {t1.shape}")
        labels[labels == BRAIN] = 3
        labels[(labels == 0) & (t1 > t1.min())] = BRAIN
    elif 2 * (labels == BRAIN).sum() <= (labels > 0).sum():
        raise UserError(
            f"{path}: tells of no brain around the tumour: place its T1w scan beside it "
            f"({scans[0].name}), or label the brain without tumour {BRAIN}"
        )
    return nib.Nifti1Image(labels, image.affine)
