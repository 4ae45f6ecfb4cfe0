"""Intensities to [0, 1]: the scale of the written volumes.

The models' own mapping, percentiles 0.2 and 99.6 of the cropped volume, is
`wfdm.data.volumes.standardise`.
"""

import numpy as np

from wfdm.data.volumes import rescale


def normalise(
    volume: np.ndarray,
    mask: np.ndarray,
    percentiles: tuple[float, float],
    over: str = "masked-volume",
) -> np.ndarray:
    """Mask `volume`, map two percentiles to 0 and 1, clip.

    Args:
        volume: intensities in any unit, one volume on the standard grid.
        mask: boolean brain mask of the same shape.
        percentiles: the two percentiles, in per cent.
        over: "masked-volume", as in BrainScape: over the whole masked array, zero background
            included, so that (0.1, 99.9) leaves the background at 0 and saturates the brightest
            0.1 % of all voxels, about half a per cent of the brain. "foreground": over the
            brain's voxels alone.

    Returns:
        float32 array in [0, 1], 0 outside the mask.

    Raises:
        UserError: both percentiles are the same value.
    """
    masked = np.where(mask, volume, np.float32(0))
    return rescale(masked, percentiles, volume[mask] if over == "foreground" else masked) * mask
