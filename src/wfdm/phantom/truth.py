"""What a phantom's T1w shows without a scanner: the truth on age and sex in the demo's cohort."""

import numpy as np
from scipy import ndimage

from wfdm.phantom.acquisition import sample
from wfdm.phantom.anatomy import Anatomy, Template, draw_anatomy
from wfdm.phantom.contrasts import contrast
from wfdm.seeds import generator_for


def person(template: Template, seed: int, number: int, age: float, male: bool) -> Anatomy:
    """Return the anatomy of one more person of the cohort, at any age and of either sex.

    With the same number it is the same person: nothing else differs.
    """
    rng = generator_for(seed, "phantom truth", number)
    return draw_anatomy(template, rng, age, male, lesion=False)


def seen(
    template: Template, anatomy: Anatomy, shape: tuple[int, int, int], spacing: float
) -> np.ndarray:
    """Return the noise-free T1w of a person's brain, upright in the middle of a grid.

    Args:
        template: the head.
        anatomy: the person.
        shape: of the grid, (R, A, S).
        spacing: in mm; a voxel averages over its extent, as a scan's does.

    Returns:
        (*shape) float32, white matter 1, 0 around the brain.
    """
    signal = contrast(template, anatomy, "T1w", np.random.default_rng(0))  # T1w shows no vessels
    blur = np.sqrt(max(spacing**2 - 1, 0)) / 2.355
    smooth = ndimage.gaussian_filter(signal * template.brain, blur, truncate=2.0)
    axes = [(np.arange(size) - (size - 1) / 2) * spacing for size in shape]
    return sample(smooth, anatomy.to_template(np.stack(np.meshgrid(*axes, indexing="ij"))))
