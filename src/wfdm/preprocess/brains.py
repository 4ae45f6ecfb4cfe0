"""Scans of which only the brain is left: what in them is brain, and how two are registered."""

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from wfdm.errors import SessionError
from wfdm.preprocess.entry import background
from wfdm.preprocess.registration import Rigid, rigid
from wfdm.preprocess.similarity import within
from wfdm.preprocess.starts import STARTS, Start

# Similarity of two brains, at 4 mm. Aligned T1w, T2w and FLAIR on the atlas brain: 1.099 to 1.144,
# one that was stripped badly 1.085. Upside down, turned or on the side, where outlines agree
# by halves: 1.042 to 1.076. Whole heads share less, so that what counts as aligned there
# (`registration`) is no proof here.
_CLEAR = 1.09
# Of a brain's 99th percentile: what is darker at its rim is what an interpolation smeared. On scans
# as they were stripped the share of such voxels is 0.2 %, on copies at 2 mm up to 4 %.
_SMEARED = 0.02


def own_brain(
    image: nib.Nifti1Image, path: Path, mask: nib.Nifti1Image | None
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Return a brain without its surroundings (0 there), and its mask (1 and 0), on its own grid.

    Args:
        image: of state brain.
        path: its file, for the message.
        mask: the brain mask that lies beside a derivative, on any grid; without one the brain is
            all that differs from the background, holes filled.

    Raises:
        SessionError: mask and scan do not meet, or nothing differs from the background.
    """
    array = np.asarray(image.dataobj, dtype=np.float32)
    if mask is None:
        array = array - background(array)
        bright = np.abs(array)
        lit = bright[bright > 0]
        if lit.size:
            bright = bright > _SMEARED * np.percentile(lit, 99)
        inside = ndimage.binary_fill_holes(bright)
    else:
        inside = within(mask, image)
    if not inside.any():
        raise SessionError(f"{path}: no brain is in it, by its own background or mask; exclude it")
    brain = np.where(inside, array, np.float32(0))
    affine = image.affine
    return nib.Nifti1Image(brain, affine), nib.Nifti1Image(inside.astype(np.float32), affine)


def rigid_brains(
    fixed: nib.Nifti1Image,
    moving: nib.Nifti1Image,
    region: nib.Nifti1Image,
    finest_mm: float,
    seed: int,
    name: str,
    starts: Mapping[str, Start] | None = None,
) -> Rigid:
    """Register one brain to another; arguments and errors are those of `registration.rigid`.

    Where the match is not clear each start is tried alone, and the best result counts.
    """
    best = rigid(fixed, moving, region, finest_mm, seed, name, starts)
    if best.similarity >= _CLEAR or starts is not None:
        return best
    for start, poses in STARTS.items():
        try:
            found = rigid(fixed, moving, region, finest_mm, seed, name, {start: poses})
        except SessionError:
            continue  # this start leads nowhere; `best` came from another
        best = max(best, found, key=lambda result: result.similarity)
    return best
