"""Intensities to [0, 1]."""

import numpy as np

from wfdm.data.volumes import rescale


def normalise(volume: np.ndarray, mask: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Mask `volume`, map two of its percentiles to 0 and 1, clip.

    As in BrainScape: the percentiles run over the whole masked array, zero background included,
    so that the default (0.1, 99.9) leaves the background at 0 and saturates the brightest 0.1 %
    of all voxels, about half a per cent of the brain.

    Args:
        volume: intensities in any unit, one volume on the standard grid.
        mask: boolean brain mask of the same shape.
        percentiles: the two percentiles, in per cent.

    Returns:
        float32 array in [0, 1], 0 outside the mask.

    Raises:
        UserError: both percentiles are the same value.
    """
    return rescale(np.where(mask, volume, np.float32(0)), percentiles) * mask
