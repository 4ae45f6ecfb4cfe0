"""Phantom contrasts: the noise-free signal of a person's head, on the template's grid.

A contrast is a curve of the template's T1w intensity (so its texture stays), plus what the curve
cannot know: fluid around the brain, lesion, contrast agent.
"""

import numpy as np

from wfdm.config.cohort import Modality
from wfdm.phantom import anatomy as people
from wfdm.phantom.anatomy import Anatomy, Template

# Signal at template intensity 0, CSF, grey matter, white matter and 1.2, inside the brain.
INSIDE: dict[str, tuple[float, ...]] = {
    "T1w": (0.0, 0.30, 0.68, 1.00, 1.20),
    "T2w": (1.0, 1.00, 0.55, 0.33, 0.25),
    "T1Gd": (0.0, 0.32, 0.82, 0.98, 1.15),
    "FLAIR": (0.05, 0.10, 0.82, 0.56, 0.50),
}
# Signal at template intensities of air and bone, muscle, marrow, fat, around the brain.
OUTSIDE_AT = (0.0, 0.3, 0.8, 1.3, 2.0, 3.5)
OUTSIDE: dict[str, tuple[float, ...]] = {
    "T1w": (0.0, 0.28, 0.75, 1.05, 1.35, 1.80),
    "T2w": (0.0, 0.08, 0.25, 0.40, 0.60, 0.75),
    "T1Gd": (0.0, 0.32, 0.90, 1.15, 1.40, 1.80),
    "FLAIR": (0.0, 0.08, 0.30, 0.45, 0.65, 0.80),
}
# Signal of necrotic core, enhancing rim and oedema.
LESION: dict[str, dict[str, float]] = {
    "T1w": {"core": 0.42, "rim": 0.62, "oedema": 0.74},
    "T2w": {"core": 0.95, "rim": 0.62, "oedema": 0.82},
    "T1Gd": {"core": 0.40, "rim": 1.80, "oedema": 0.76},
    "FLAIR": {"core": 0.60, "rim": 0.86, "oedema": 0.96},
}
FLUID = {"T1w": 0.28, "T2w": 1.0, "T1Gd": 0.3, "FLAIR": 0.08}  # between brain and skull
ENHANCED = 1.9  # signal of blood with contrast agent


def contrast(
    template: Template, anatomy: Anatomy, modality: Modality, rng: np.random.Generator
) -> np.ndarray:
    """Return the noise-free signal of a contrast on the template's grid, float32, T1w WM = 1.

    `rng` draws the vessels that T1Gd shows.
    """
    signal = _curve(template.outside, OUTSIDE_AT, OUTSIDE[modality])
    box = template.box
    brain, around = template.brain[box], signal[box]
    inside = _brain_signal(template, anatomy, modality)
    # Fluid fills the few dark millimetres between brain and skull.
    fluid = np.clip(2 * template.near[box], 0, 1) * (template.outside[box] < 0.6)
    around += fluid * (FLUID[modality] - around)
    if modality == "T1Gd":
        inside += _vessels(template, rng) * (ENHANCED - inside)
        around += _sinus(template) * (ENHANCED - around)
    around += brain * (inside - around)
    if anatomy.lesion is not None:
        box, maps = people.lesion_maps(template, anatomy.lesion)
        for part, weight in maps.items():
            signal[box] += weight * (LESION[modality][part] - signal[box])
    return signal


def _brain_signal(template: Template, anatomy: Anatomy, modality: Modality) -> np.ndarray:
    """Return the signal of healthy brain tissue within the template's box."""
    t1, levels = template.inside[template.box], template.levels
    # Ageing widens the sulci: what is darker than grey matter gets closer to fluid.
    aged = t1 - 0.4 * anatomy.ageing * np.maximum(levels.gm - t1, 0)
    return _curve(aged, (0.0, levels.csf, levels.gm, levels.wm, 1.2), INSIDE[modality])


def _curve(values: np.ndarray, at: tuple[float, ...], signal: tuple[float, ...]) -> np.ndarray:
    """Map intensities in [0, 4] through a piecewise linear curve, by a table: np.interp is slow."""
    table = np.interp(np.linspace(0, 4, 4097), at, signal).astype(np.float32)
    return table[np.clip(values * 1024, 0, 4096).astype(np.int16)]


def _vessels(template: Template, rng: np.random.Generator) -> np.ndarray:
    """Return a soft map of vessels outside white matter and of the choroid plexus, in the box.

    Two random fields vanish together along random curves: tubes around them look like vessels.
    """
    t1 = template.inside[template.box]
    squared = sum(people.random_field(rng, t1.shape, 16.0) ** 2 for _ in range(2))
    grey_or_fluid = np.clip((0.95 - t1) / 0.2, 0, 1)
    tubes = np.clip(2 * np.exp(-squared / (2 * 0.18**2)), 0, 1) * grey_or_fluid
    x, y, z = template.inside.shape
    ventricles = template.ventricles.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:x, :y, :z]
    plexus = np.exp(-squared / (2 * 0.5**2)) * ventricles[template.box]
    return np.maximum(tubes, plexus).astype(np.float32)


def _sinus(template: Template) -> np.ndarray:
    """Return a soft map of dura and superior sagittal sinus around the brain, in the box."""
    x, y, z = np.ogrid[template.box]
    middle = template.centre
    dura = 0.45 * np.clip(3 * template.near[template.box], 0, 1)
    wide = np.clip(10 * template.near[template.box], 0, 1)
    midline = np.exp(-0.5 * ((x - middle[0]) / 2.5) ** 2) * ((z > middle[2]) | (y < middle[1]))
    return np.maximum(dura, wide * midline).astype(np.float32)
